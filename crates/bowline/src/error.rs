//! How a verb fails: the kind decides the exit code, the causes say what happened, the hints what to do.

use bowline_host::HostError;
use serde::Serialize;

/// What kind of failure it is; the command's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A bug of ours.
    Internal,
    /// Bad usage or input; nothing was touched.
    Input,
    /// Could not attach; the host is clean.
    NotAttached,
    /// Something is left behind, named in `leftovers`.
    Leftovers,
    /// Refused: in use, or the flush failed. Everything is intact.
    Refused,
    /// This host cannot do it.
    Host,
    /// An identity does not match; nothing is attached.
    Identity,
}

impl ErrorKind {
    /// The command's exit code: a contract.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Input => 2,
            Self::NotAttached => 3,
            Self::Leftovers => 4,
            Self::Refused => 5,
            Self::Host => 6,
            Self::Identity => 7,
        }
    }
}

/// A failure of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// One sentence: operation, object, limit.
    pub message: String,
    /// What led to it, the nearest first. A failed clean-up stands beside its cause, not instead of it.
    pub causes: Vec<String>,
    /// What to do next.
    pub hints: Vec<String>,
    /// What may be left behind, one line each.
    pub leftovers: Vec<String>,
}

impl Error {
    /// A failure of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), leftovers: Vec::new() }
    }

    /// With a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl ToString) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With leftovers: they outrank every other kind but bad input, which touches nothing.
    #[must_use]
    pub fn leaving(mut self, leftovers: Vec<String>) -> Self {
        if !leftovers.is_empty() && self.kind != ErrorKind::Input {
            self.kind = ErrorKind::Leftovers;
        }
        self.leftovers.extend(leftovers);
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Error {}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        Self::new(ErrorKind::Host, error.to_string())
    }
}

impl From<bowline_host::iscsi::IscsiError> for Error {
    fn from(error: bowline_host::iscsi::IscsiError) -> Self {
        Self::new(ErrorKind::Host, error.to_string())
    }
}
