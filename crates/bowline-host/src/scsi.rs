//! SCSI devices in sysfs: found by session, host and LUN, never by links under /dev; identified by what the
//! kernel remembers of the first scan, never by an INQUIRY of ours (C6).

mod identity;

pub use identity::{Product, wwid_from_sysfs, wwid_from_vpd80, wwid_from_vpd83};

use crate::host::{Blocking, Host, HostError};
use crate::names::{BlockName, DevNumber, Hctl, Lun, ScsiHost, Sid, Wwid};
use crate::sysfs;
use std::io;

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
    /// Its block device; `None` before sd has attached, and for ever when it is no disk (tgt's LUN 0 is a
    /// controller).
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

const DEVICES: &str = "/sys/class/scsi_device";
const BLOCKS: &str = "/sys/class/block";

/// The addresses of every SCSI device of this machine, in order: one look at one directory.
///
/// # Errors
/// sysfs cannot be listed for another reason than absence.
pub fn addresses(host: &dyn Host) -> Result<Vec<Hctl>, HostError> {
    let mut addresses: Vec<Hctl> =
        sysfs::list(host, DEVICES)?.into_iter().filter_map(|name| name.parse().ok()).collect();
    addresses.sort();
    Ok(addresses)
}

/// Whether a device that [`addresses`] does not have is still on its way out below its session: the kernel takes it off the class
/// first, then its driver takes its leave, which may mean to flush the disk's cache, and the device goes last (Linux 6.1
/// `drivers/scsi/scsi_sysfs.c` `__scsi_remove_device`).
///
/// # Errors
/// sysfs cannot be listed for another reason than absence.
pub fn is_going(host: &dyn Host, session: Sid, hctl: Hctl) -> Result<bool, HostError> {
    let Hctl { host: ScsiHost(number), channel, target, .. } = hctl;
    let place =
        format!("/sys/class/iscsi_session/session{session}/device/target{number}:{channel}:{target}/{hctl}");
    sysfs::is_there(host, &place)
}

/// One device; `None` when it is gone. What cannot be read of one that stays is left open (C7).
///
/// # Errors
/// sysfs cannot be read for another reason than absence.
pub fn device(host: &dyn Host, hctl: Hctl) -> Result<Option<ScsiDevice>, HostError> {
    let path = format!("{DEVICES}/{hctl}/device");
    let Some(state) = sysfs::attribute(host, &format!("{path}/state"))? else { return Ok(None) };
    // Peripheral device type 0 is a disk (SPC; `type` in sysfs is decimal).
    let is_disk = sysfs::attribute(host, &format!("{path}/type"))?.is_some_and(|kind| kind == "0");
    let mut block = None;
    if is_disk {
        let names = sysfs::list(host, &format!("{path}/block"))?;
        if let Some(name) = names.iter().find_map(|name| name.parse().ok()) {
            block = block_device(host, &name)?;
        }
    }
    Ok(Some(ScsiDevice { hctl, state: state_of(&state), wwid: wwid(host, &path), block }))
}

/// The words of Linux 6.1 `drivers/scsi/scsi_sysfs.c` `sdev_states`.
fn state_of(text: &str) -> DeviceState {
    match text {
        "running" => DeviceState::Running,
        "blocked" | "quiesce" | "created-blocked" => DeviceState::Blocked,
        "offline" | "transport-offline" => DeviceState::Offline,
        "cancel" | "deleted" => DeviceState::Going,
        _ => DeviceState::Unknown,
    }
}

/// scsi_id's answer from what the kernel keeps: page 0x83, or its own words when the page cannot be read, then
/// page 0x80. Nothing of this reaches the device (C6), and a page that is missing is no error (C7).
fn wwid(host: &dyn Host, path: &str) -> Option<Wwid> {
    let read = |name: &str| host.read(&format!("{path}/{name}")).ok().filter(|bytes| !bytes.is_empty());
    let (vendor, model) = (read("vendor").unwrap_or_default(), read("model").unwrap_or_default());
    let product = Product { vendor: &vendor, model: &model };
    match read("vpd_pg83") {
        Some(page) => wwid_from_vpd83(&page, product),
        None => read("wwid").and_then(|text| wwid_from_sysfs(&String::from_utf8_lossy(&text))),
    }
    .or_else(|| wwid_from_vpd80(&read("vpd_pg80")?, product))
}

/// A block device by its kernel name; `None` when it is gone.
///
/// # Errors
/// An attribute that is there and cannot be read, or has not the form it should have.
pub fn block_device(host: &dyn Host, name: &BlockName) -> Result<Option<BlockDevice>, HostError> {
    let path = format!("{BLOCKS}/{name}");
    let attribute = |name: &str| sysfs::attribute(host, &format!("{path}/{name}"));
    let (Some(number), Some(size), Some(read_only)) =
        (attribute("dev")?, attribute("size")?, attribute("ro")?)
    else {
        return Ok(None);
    };
    let malformed = |what: &str| {
        let error = io::Error::new(io::ErrorKind::InvalidData, format!("{what} is malformed"));
        HostError::io("read", path.clone(), error)
    };
    // `size` counts 512-byte sectors whatever the device's own block size is (Documentation/ABI/stable/sysfs-block).
    let sectors: u64 = size.parse().map_err(|_| malformed("size"))?;
    let mut holders: Vec<BlockName> = names(sysfs::list(host, &format!("{path}/holders"))?).collect();
    let mut partitions = Vec::new();
    // A partition is a directory of the disk's that begins with the disk's name and has a `partition` file.
    for part in names(sysfs::list(host, &path)?).filter(|part| part.as_str().starts_with(name.as_str())) {
        if sysfs::attribute(host, &format!("{path}/{part}/partition"))?.is_some() {
            partitions.push(part);
        }
    }
    for part in &partitions {
        holders.extend(names(sysfs::list(host, &format!("{path}/{part}/holders"))?));
    }
    holders.sort();
    holders.dedup();
    Ok(Some(BlockDevice {
        name: name.clone(),
        number: number.parse::<DevNumber>().map_err(|_| malformed("dev"))?,
        size: sectors.checked_mul(512).ok_or_else(|| malformed("size"))?,
        read_only: read_only != "0",
        holders,
        partitions,
    }))
}

fn names(list: Vec<String>) -> impl Iterator<Item = BlockName> {
    list.into_iter().filter_map(|name| name.parse().ok())
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

#[cfg(test)]
#[path = "scsi/scsi_tests.rs"]
mod tests;
