//! Multipath maps as device-mapper knows them: the truth about what exists, by UUID.

use crate::host::{Host, HostError};
use crate::names::{BlockName, DevNumber, MapName, Wwid};

/// A multipath map of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Its name (alias).
    pub name: MapName,
    /// The identity in its UUID (`mpath-WWID`).
    pub wwid: Wwid,
    /// Its number.
    pub number: DevNumber,
    /// How often it is open: openers, mounts, devices stacked on it.
    pub open_count: u32,
    /// Whether I/O is held back.
    pub suspended: bool,
    /// Whether it has a live table.
    pub live: bool,
    /// Size in bytes, of the table.
    pub size: u64,
    /// Whether it queues I/O when no path works (`queue_if_no_path`).
    pub queueing: bool,
    /// Its paths, in the order of the table.
    pub paths: Vec<MapPath>,
}

/// One path of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapPath {
    /// The SCSI disk's number.
    pub number: DevNumber,
    /// `A` in the status: the kernel sends I/O over it.
    pub active: bool,
}

impl Map {
    /// The kernel's block name: `dm-MINOR`.
    pub fn block_name(&self) -> BlockName {
        format!("dm-{}", self.number.minor).parse().expect("dm- and a number is a block name")
    }
}

/// The map with that identity; `None` when there is none. Never lists maps (C8).
pub fn map_of(_host: &dyn Host, _wwid: &Wwid) -> Result<Option<Map>, HostError> {
    Ok(None)
}

/// The multipath map that holds a device, if the block device `dm-N` is one: its UUID is read from sysfs,
/// then confirmed by device-mapper.
pub fn map_at(_host: &dyn Host, _holder: &BlockName) -> Result<Option<Map>, HostError> {
    Ok(None)
}
