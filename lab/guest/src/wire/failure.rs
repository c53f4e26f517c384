//! One error type for the laboratory: a sentence, and what caused it.
//!
//! Nobody in the laboratory reacts to the kind of an error, a person reads it. So an enum of kinds
//! would be ceremony; the sentence is what has to be good.

use std::error::Error;
use std::fmt;

/// A sentence that says what could not be done, with its cause.
#[derive(Debug)]
pub struct Failure {
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that is its own cause.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }
}

impl fmt::Display for Failure {
    /// The whole chain, separated by colons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

/// Puts the sentence in front of somebody else's error.
pub trait Context<T> {
    /// The same result, whose error now says what was being done.
    ///
    /// # Errors
    /// Those of the result, inside the sentence.
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|cause| Failure { what: what().into(), cause: Some(cause.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_reads_as_one_sentence() {
        let inner: Result<(), _> = Err(std::io::Error::other("no such device"));
        let failure = inner.context(|| "opening /dev/sda").context(|| "cannot scan").unwrap_err();
        assert_eq!(failure.to_string(), "cannot scan: opening /dev/sda: no such device");
    }
}
