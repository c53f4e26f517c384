//! Sessions.
use super::{Endpoint, IscsiError};
use crate::host::Host;
use crate::names::{ScsiHost, Sid};
use std::time::Duration;

/// State of a session (`/sys/class/iscsi_session/sessionN/state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Usable.
    LoggedIn,
    /// Its connection is lost; iscsid tries to get it back.
    Failed,
    /// Being made, or given up after `recovery_tmo`.
    Free,
    /// A word we do not know.
    Unknown,
}

/// An iSCSI session of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub sid: Sid,
    /// The SCSI host below it; iscsi_tcp has one a session.
    pub scsi_host: ScsiHost,
    /// Target, portal (the persistent one) and interface.
    pub endpoint: Endpoint,
    /// Its state.
    pub state: SessionState,
}

/// Every session, from sysfs. One that goes away while it is read is left out.
pub fn sessions(_host: &dyn Host) -> Result<Vec<Session>, IscsiError> {
    Ok(Vec::new())
}
/// `iscsiadm -m node … --login`.
pub async fn login(_host: &dyn Host, _endpoint: &Endpoint, _limit: Duration) -> Result<(), IscsiError> {
    Ok(())
}
/// `iscsiadm -m node … --logout`. No session is no error.
pub async fn logout(_host: &dyn Host, _endpoint: &Endpoint, _limit: Duration) -> Result<(), IscsiError> {
    Ok(())
}
