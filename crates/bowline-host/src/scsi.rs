//! SCSI devices in sysfs: found by session, host and LUN, never by links under /dev; identified by what the
//! kernel remembers of the first scan, never by an INQUIRY of ours (C6).

use crate::host::{Blocking, Host, HostError};
use crate::names::{BlockName, DevNumber, Hctl, Lun, ScsiHost, Wwid};

/// State of a SCSI device (`state` in sysfs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// Usable.
    Running,
    /// Held back while the transport recovers (`blocked`, `quiesce`).
    Blocked,
    /// Given up (`offline`, `transport-offline`).
    Offline,
    /// On its way out (`cancel`, `deleted`).
    Going,
    /// A word we do not know, or `created`.
    Unknown,
}

/// A SCSI disk, or what the kernel has of one so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScsiDevice {
    /// Its address.
    pub hctl: Hctl,
    /// Its state.
    pub state: DeviceState,
    /// Its identity in the words of scsi_id and multipath, from `wwid`/`vpd_pg83`/`vpd_pg80`; `None` while
    /// it cannot be told.
    pub wwid: Option<Wwid>,
    /// Its block device; `None` before sd has attached.
    pub block: Option<BlockDevice>,
}

/// A block device as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// Kernel name.
    pub name: BlockName,
    /// Number.
    pub number: DevNumber,
    /// Size in bytes.
    pub size: u64,
    /// Whether the kernel holds it read-only.
    pub read_only: bool,
    /// What is stacked upon it or on one of its partitions (`holders`): kernel names.
    pub holders: Vec<BlockName>,
    /// Its partitions: kernel names.
    pub partitions: Vec<BlockName>,
}

/// The devices below a SCSI host, in order.
pub fn devices(_host: &dyn Host, _scsi_host: ScsiHost) -> Result<Vec<ScsiDevice>, HostError> {
    Ok(Vec::new())
}

/// A block device by its kernel name; `None` when it is gone.
pub fn block_device(_host: &dyn Host, _name: &BlockName) -> Result<Option<BlockDevice>, HostError> {
    Ok(None)
}

/// Asks the kernel to look at one LUN and no other (C12).
pub fn scan(scsi_host: ScsiHost, lun: Lun) -> Blocking {
    Blocking::WriteSysfs {
        path: format!("/sys/class/scsi_host/{scsi_host}/scan"),
        text: format!("0 0 {lun}"),
    }
}

/// Deletes one device.
pub fn delete(hctl: Hctl) -> Blocking {
    Blocking::WriteSysfs { path: format!("/sys/class/scsi_device/{hctl}/device/delete"), text: "1".into() }
}
