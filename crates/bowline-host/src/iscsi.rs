//! open-iscsi: node records and sessions.
//!
//! Changes go through `iscsiadm` (iscsid's socket has no stable format), looking goes through sysfs and the
//! node database's directories. Nothing here decides anything.

mod exit;
mod lock;
mod records;
mod sessions;

pub use exit::{IscsiError, Iscsiadm};
pub use lock::DATABASE_LOCK;
pub use records::{
    ChapSecrets, NodeRecord, Pattern, all_records, copy_record, create_record, delete_record, records_of,
    records_of_endpoint, secrets_missing, settings_of, write_record,
};
pub use sessions::{
    Session, SessionState, TornSession, all_sessions_of, has_session, login, login_arguments, logout,
    logout_arguments, sessions_at, sessions_of,
};

use crate::names::{Iface, Iqn, Portal};
use std::fmt;

/// What one node record, and the session made from it, stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    /// The target.
    pub iqn: Iqn,
    /// Where it is reached.
    pub portal: Portal,
    /// Through which interface binding.
    #[serde(default)]
    pub iface: Iface,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.iqn, self.portal)?;
        match self.iface == Iface::default() {
            true => Ok(()),
            false => write!(f, " through interface {}", self.iface),
        }
    }
}
