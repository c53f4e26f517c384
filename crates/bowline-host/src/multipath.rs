//! multipathd, through its socket. Its answers are hints: device-mapper tells the truth.

use crate::host::{Host, HostError};
use crate::names::{BlockName, MapName, Wwid};
use std::time::Duration;

/// What multipathd answered to a command that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `ok`. Not yet usable, not yet gone: look.
    Ok,
    /// `timeout`: its lock was busy for more than 4 s; it did nothing.
    NotExecuted,
    /// `blacklisted`: by its configuration, or the device does not exist.
    Blacklisted,
    /// `fail…` or anything else, with what it said.
    Failed(String),
}

/// One path as multipathd's memory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPath {
    /// The SCSI disk.
    pub device: BlockName,
    /// Its identity by udev; `None` while multipathd does not know it.
    pub wwid: Option<Wwid>,
    /// The map it belongs to; `None` for an orphan.
    pub map: Option<MapName>,
}

/// `show daemon`: its answer, as a check that it lives. Takes no lock.
pub async fn daemon(_host: &dyn Host, _limit: Duration) -> Result<String, HostError> {
    Ok(String::new())
}
/// The paths in multipathd's memory (no path is probed: D6).
pub async fn paths(_host: &dyn Host, _limit: Duration) -> Result<Vec<KnownPath>, HostError> {
    Ok(Vec::new())
}
/// `add path`
pub async fn add_path(_host: &dyn Host, _device: &BlockName, _limit: Duration) -> Result<Reply, HostError> {
    Ok(Reply::Ok)
}
/// `del path`
pub async fn del_path(_host: &dyn Host, _device: &BlockName, _limit: Duration) -> Result<Reply, HostError> {
    Ok(Reply::Ok)
}
/// `add map WWID`
pub async fn add_map(_host: &dyn Host, _wwid: &Wwid, _limit: Duration) -> Result<Reply, HostError> {
    Ok(Reply::Ok)
}
/// `del map NAME`
pub async fn del_map(_host: &dyn Host, _name: &MapName, _limit: Duration) -> Result<Reply, HostError> {
    Ok(Reply::Ok)
}
/// `disablequeueing map NAME`
pub async fn disable_queueing(
    _host: &dyn Host,
    _name: &MapName,
    _limit: Duration,
) -> Result<Reply, HostError> {
    Ok(Reply::Ok)
}
/// Whether the wwids file has the identity.
pub fn wwid_on_file(_host: &dyn Host, _wwid: &Wwid) -> Result<bool, HostError> {
    Ok(false)
}
/// `multipath -w WWID`: takes the identity off the wwids file.
pub async fn forget_wwid(_host: &dyn Host, _wwid: &Wwid, _limit: Duration) -> Result<(), HostError> {
    Ok(())
}
