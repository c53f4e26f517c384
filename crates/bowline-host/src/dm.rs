//! Multipath maps as device-mapper knows them: the truth about what exists, by UUID.

use crate::host::{DmDevice, DmId, Host, HostError, Program};
use crate::layers::{Kind, Layer};
use crate::names::{BlockName, DevNumber, MapName, Wwid};
use crate::sysfs;
use std::io;
use std::time::Duration;

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
    /// Whether it queues I/O when no path works (`queue_if_no_path`), as it is now: the kernel prints its flag
    /// into the table, so a message that changed it shows (Linux 6.1 `multipath_status`, STATUSTYPE_TABLE).
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

    /// Whether it holds its I/O back since no path works.
    pub fn waits_for_a_path(&self) -> bool {
        self.queueing && !self.paths.iter().any(|path| path.active)
    }

    /// Whether a disk is among its paths.
    pub fn has(&self, number: DevNumber) -> bool {
        self.paths.iter().any(|path| path.number == number)
    }
}

/// The prefix of a multipath map's UUID (libmultipath `UUID_PREFIX`). A partition's map has `partN-` before it.
const UUID_PREFIX: &str = "mpath-";

/// The map with that identity; `None` when there is none. Never lists maps (C8).
///
/// # Errors
/// device-mapper cannot be asked, or its answer has not the form it should have; the error names the map.
pub fn map_of(host: &dyn Host, wwid: &Wwid) -> Result<Option<Map>, HostError> {
    let device = host.dm(&DmId::Uuid(wwid.map_uuid()))?;
    device.map(|device| map(&device, wwid.clone())).transpose()
}

/// The multipath map that holds a device, if the block device `dm-N` is one: its UUID is read from sysfs,
/// then confirmed by device-mapper. `None` also for a partition's map, and when the number has passed to
/// another map meanwhile.
///
/// # Errors
/// As [`map_of`].
pub fn map_at(host: &dyn Host, holder: &BlockName) -> Result<Option<Map>, HostError> {
    let path = format!("/sys/class/block/{holder}/dm/uuid");
    let Some(uuid) = sysfs::attribute(host, &path)? else { return Ok(None) };
    let Some(wwid) = uuid.strip_prefix(UUID_PREFIX) else { return Ok(None) };
    let wwid = wwid.parse().map_err(|error| malformed(holder.as_str(), format!("its UUID: {error}")))?;
    Ok(map_of(host, &wwid)?.filter(|map| map.block_name() == *holder))
}

/// `dmsetup remove NAME`: removes a layer that nobody has open, without reading from what lies below, which LVM's own
/// commands would, and hang where every path is dead. LVM goes by what device-mapper has: to LVM the volume is inactive.
///
/// # Errors
/// It is no device-mapper device, dmsetup is missing, did not end within `limit`, or failed: it is open.
pub async fn remove(host: &dyn Host, layer: &Layer, limit: Duration) -> Result<(), HostError> {
    let name = match &layer.kind {
        Kind::Logical { map, .. } | Kind::PartitionMap(map) | Kind::Mapped(map) => map.clone(),
        Kind::Partition | Kind::Other => {
            return Err(HostError::unavailable("remove", layer.to_string(), "it is no device-mapper device"));
        }
    };
    dmsetup(host, vec!["remove".to_owned(), name], limit).await
}

/// `dmsetup message NAME 0 MESSAGE`: what multipathd tells the multipath target of a map as well (0.9.4
/// `libmultipath/devmapper.c` `dm_message`): `fail_path MAJOR:MINOR`, `fail_if_no_path`. The kernel does it at once, whatever I/O waits.
///
/// # Errors
/// There is no such map, its target does not know the message, dmsetup is missing, or did not end within `limit`.
pub async fn message(
    host: &dyn Host,
    map: &MapName,
    message: &str,
    limit: Duration,
) -> Result<(), HostError> {
    let args = ["message", map.as_str(), "0", message].map(str::to_owned).into();
    dmsetup(host, args, limit).await
}

async fn dmsetup(host: &dyn Host, args: Vec<String>, limit: Duration) -> Result<(), HostError> {
    let program = Program { name: "dmsetup", args, limit, abandon: false, keeps_locks: true };
    let ended = host.run(&program).await?;
    match ended.code {
        Some(0) => Ok(()),
        _ => {
            let last = ended.stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
            let why = last.unwrap_or("it failed and said nothing").to_owned();
            Err(HostError::unavailable("run", program.to_string(), why))
        }
    }
}

fn map(device: &DmDevice, wwid: Wwid) -> Result<Map, HostError> {
    let bad = |why: String| malformed(&device.name, why);
    let mut map = Map {
        name: device.name.parse().map_err(|error| bad(format!("its name: {error}")))?,
        wwid,
        number: device.number,
        open_count: device.open_count,
        suspended: device.suspended,
        live: device.live_table,
        size: 0,
        queueing: false,
        paths: Vec::new(),
    };
    for line in &device.table {
        let (length, params) = target(line).ok_or_else(|| bad(format!("its table: {line:?}")))?;
        let bytes = length.checked_mul(512).and_then(|bytes| map.size.checked_add(bytes));
        map.size = bytes.ok_or_else(|| bad(format!("its size: {line:?}")))?;
        // Another target (dmsetup's `error` after a wipe) leaves a map that has no paths.
        if let Some(params) = params {
            map.queueing |= queues(params).ok_or_else(|| bad(format!("its table: {line:?}")))?;
        }
    }
    for line in &device.status {
        let (_, params) = target(line).ok_or_else(|| bad(format!("its status: {line:?}")))?;
        if let Some(params) = params {
            map.paths.append(&mut paths(params).ok_or_else(|| bad(format!("its status: {line:?}")))?);
        }
    }
    Ok(map)
}

/// Length in sectors and, of a multipath target, the rest of the line `START LENGTH TYPE REST`.
fn target(line: &str) -> Option<(u64, Option<&str>)> {
    let mut parts = line.trim().splitn(4, ' ');
    let _start: u64 = parts.next()?.parse().ok()?;
    let length = parts.next()?.parse().ok()?;
    let kind = parts.next()?;
    Some((length, (kind == "multipath").then(|| parts.next().unwrap_or_default())))
}

/// Whether the features at the head of a table, `COUNT FEATURE…`, have `queue_if_no_path`.
fn queues(params: &str) -> Option<bool> {
    let mut words = params.split_whitespace();
    let mut queues = false;
    for _ in 0..number(&mut words)? {
        queues |= words.next()? == "queue_if_no_path";
    }
    Some(queues)
}

/// The paths of a status line, in groups in the order of the table (Linux 6.1 `drivers/md/dm-mpath.c`
/// `multipath_status`, STATUSTYPE_INFO): features, handler, number of groups and which is next; each
/// group `A|D|E`, the selector's words, number of paths, number of words a path has from its selector;
/// each path `MAJOR:MINOR A|F FAILURES` and those words. A list of words has its length before it.
fn paths(params: &str) -> Option<Vec<MapPath>> {
    let mut words = params.split_whitespace();
    skip_list(&mut words)?;
    skip_list(&mut words)?;
    let groups = number(&mut words)?;
    let _next_group = number(&mut words)?;
    let mut paths = Vec::new();
    for _ in 0..groups {
        let _state = words.next()?;
        skip_list(&mut words)?;
        let (count, extra) = (number(&mut words)?, number(&mut words)?);
        for _ in 0..count {
            let number_of = words.next()?.parse().ok()?;
            let active = match words.next()? {
                "A" => true,
                "F" => false,
                _ => return None,
            };
            let _failures = number(&mut words)?;
            skip(&mut words, extra)?;
            paths.push(MapPath { number: number_of, active });
        }
    }
    Some(paths)
}

fn number<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<u32> {
    words.next()?.parse().ok()
}

fn skip_list<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<()> {
    let count = number(words)?;
    skip(words, count)
}

fn skip<'a>(words: &mut impl Iterator<Item = &'a str>, count: u32) -> Option<()> {
    (0..count).try_for_each(|_| words.next().map(drop))
}

fn malformed(map: &str, why: String) -> HostError {
    HostError::io(
        "read the map",
        map,
        io::Error::new(io::ErrorKind::InvalidData, format!("not understood: {why}")),
    )
}

#[cfg(test)]
#[path = "dm_tests.rs"]
mod tests;
