//! The one type that holds a CHAP secret (B8): it cannot be printed, serialized or compared by accident, and
//! its memory is wiped when it goes.

use std::fmt;

use zeroize::Zeroizing;

/// A CHAP secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the one place that writes it into a node record.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
