//! Exit codes of iscsiadm, by name.
use crate::host::HostError;

/// How an iscsiadm call failed. Codes as in open-iscsi 2.1.8 `include/iscsi_err.h`.
#[derive(Debug, thiserror::Error)]
pub enum IscsiError {
    /// It ran, and failed.
    #[error("{command}: {code}: {message}")]
    Failed {
        /// The call, without the name of the program.
        command: String,
        /// Its exit code.
        code: Iscsiadm,
        /// What it said last.
        message: String,
    },
    /// It could not be run, or did not end.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// iscsiadm's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Iscsiadm {
    /// 15: a session exists, or a login to make it is under way (it is not yet a session that is logged in).
    SessionExists,
    /// 21
    NoObjects,
    /// 24
    Authentication,
    /// 19
    FatalLogin,
    /// Any other.
    Other(i32),
}

impl std::fmt::Display for Iscsiadm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
impl Iscsiadm {
    /// Whether another try may end otherwise: database, daemon.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Other(6 | 18 | 20 | 28 | 29))
    }
}
