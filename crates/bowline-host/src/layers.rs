//! What the host has made of a volume's content: partitions, logical volumes, whatever else is stacked upon it.
//!
//! Each of them is a block device with a page cache of its own: a flush of the volume's device does not write what was
//! written through them, and a write that was lost there is told to their fsync alone.

use crate::host::{DmId, Host, HostError};
use crate::names::{BlockName, DevNumber};
use crate::scsi::{self, BlockDevice};
use crate::sysfs;
use std::fmt;

/// A block device upon a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// Kernel name.
    pub name: BlockName,
    /// Number.
    pub number: DevNumber,
    /// What it is.
    pub kind: Kind,
    /// How often a partition's map is open; 0 for all others, of which it is not known.
    pub open_count: u32,
}

/// What a layer is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A partition of the kernel's.
    Partition,
    /// A partition's map, made by kpartx: its name.
    PartitionMap(String),
    /// A logical volume of LVM.
    Logical {
        /// Its volume group.
        group: String,
        /// Its own name.
        volume: String,
        /// Its name in device-mapper, which also tells layers of one volume apart (`-real`, `-cow`).
        map: String,
    },
    /// Another device-mapper device: its name.
    Mapped(String),
    /// Something else: md, bcache, …
    Other,
}

impl Layer {
    /// Whether the volume's content comes with it, and nobody has to have asked for it.
    pub fn is_partition(&self) -> bool {
        matches!(self.kind, Kind::Partition | Kind::PartitionMap(_))
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.kind {
            Kind::Partition => write!(f, "partition {name}"),
            Kind::PartitionMap(map) => write!(f, "partition map {map} ({name})"),
            Kind::Logical { group, volume, .. } => write!(f, "logical volume {group}/{volume} ({name})"),
            Kind::Mapped(map) => write!(f, "block device {map} ({name})"),
            Kind::Other => write!(f, "block device {name}"),
        }
    }
}

/// Everything upon a device, however deep, each once. A multipath map is no layer but the volume itself; nor is a
/// device-mapper device without a UUID, which may be one in the making.
///
/// # Errors
/// sysfs or device-mapper cannot be read.
pub fn upon(host: &dyn Host, device: &BlockDevice) -> Result<Vec<Layer>, HostError> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut todo = vec![device.clone()];
    while let Some(below) = todo.pop() {
        for name in below.partitions.iter().chain(&below.holders) {
            let known = layers.iter().any(|layer| layer.name == *name);
            let Some(block) = scsi::block_device(host, name)?.filter(|_| !known) else { continue };
            let is_dm = sysfs::attribute(host, &attribute_of(name, "name"))?.is_some();
            let uuid = sysfs::attribute(host, &attribute_of(name, "uuid"))?.unwrap_or_default();
            if is_dm && (uuid.is_empty() || uuid.starts_with("mpath-")) {
                continue;
            }
            layers.push(layer(host, &block)?);
            todo.push(block);
        }
    }
    Ok(layers)
}

/// A block device as a layer.
///
/// # Errors
/// As [`upon`].
pub fn layer(host: &dyn Host, block: &BlockDevice) -> Result<Layer, HostError> {
    let (name, number) = (block.name.clone(), block.number);
    let map = sysfs::attribute(host, &attribute_of(&name, "name"))?;
    let uuid = sysfs::attribute(host, &attribute_of(&name, "uuid"))?.unwrap_or_default();
    let is_partition = sysfs::attribute(host, &format!("/sys/class/block/{name}/partition"))?.is_some();
    let mut open_count = 0;
    let kind = match map {
        None if is_partition => Kind::Partition,
        None => Kind::Other,
        Some(map) if is_partition_map(&uuid) => {
            open_count = host.dm(&DmId::Uuid(uuid))?.map_or(0, |device| device.open_count);
            Kind::PartitionMap(map)
        }
        Some(map) => match logical(&map).filter(|_| uuid.starts_with("LVM-")) {
            Some((group, volume)) => Kind::Logical { group, volume, map },
            None => Kind::Mapped(map),
        },
    };
    Ok(Layer { name, number, kind, open_count })
}

/// Whether a layer that was seen before is still there.
///
/// # Errors
/// As [`upon`].
pub fn is_there(host: &dyn Host, seen: &Layer) -> Result<bool, HostError> {
    match scsi::block_device(host, &seen.name)?.filter(|block| block.number == seen.number) {
        Some(block) => Ok(layer(host, &block)?.kind == seen.kind),
        None => Ok(false),
    }
}

fn attribute_of(name: &BlockName, attribute: &str) -> String {
    format!("/sys/class/block/{name}/dm/{attribute}")
}

/// kpartx gives a partition's map the UUID `partN-mpath-WWID` (multipath-tools 0.9.4 `kpartx/kpartx.c`).
fn is_partition_map(uuid: &str) -> bool {
    uuid.starts_with("part") && uuid.contains("-mpath-")
}

/// Group and volume of a device-mapper name: LVM doubles a hyphen of a name, and joins names by a single one
/// (LVM 2.03 `libdm/libdm-string.c` `dm_build_dm_name`).
fn logical(map: &str) -> Option<(String, String)> {
    let doubled = "\0";
    let map = map.replace("--", doubled);
    let mut names = map.split('-').map(|name| name.replace(doubled, "-"));
    Some((names.next()?, names.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;

    fn block(host: FakeHost, path: &str, number: &str) -> FakeHost {
        host.file(&format!("{path}/dev"), format!("{number}\n"))
            .file(&format!("{path}/size"), "8\n")
            .file(&format!("{path}/ro"), "0\n")
    }

    fn mapped(host: FakeHost, name: &str, number: &str, map: &str, uuid: &str) -> FakeHost {
        let path = format!("/sys/class/block/{name}");
        block(host, &path, number)
            .file(&format!("{path}/dm/name"), format!("{map}\n"))
            .file(&format!("{path}/dm/uuid"), format!("{uuid}\n"))
    }

    fn found(host: &FakeHost, name: &str) -> Vec<String> {
        let device = scsi::block_device(host, &name.parse().unwrap()).unwrap().unwrap();
        upon(host, &device).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn d7_partitions_and_logical_volumes_are_found_however_deep() {
        let host = mapped(FakeHost::default(), "dm-0", "254:0", "mpatha", "mpath-3600");
        let host = mapped(host, "dm-1", "254:1", "mpatha-part1", "part1-mpath-3600");
        let host = mapped(host, "dm-2", "254:2", "my--vg-one", "LVM-abc");
        let host = mapped(host, "dm-3", "254:3", "vault", "CRYPT-LUKS2-abc-vault")
            .file("/sys/class/block/dm-0/holders/dm-1/dev", "254:1")
            .file("/sys/class/block/dm-1/holders/dm-2/dev", "254:2")
            .file("/sys/class/block/dm-2/holders/dm-3/dev", "254:3");
        assert_eq!(
            found(&host, "dm-0"),
            [
                "partition map mpatha-part1 (dm-1)",
                "logical volume my-vg/one (dm-2)",
                "block device vault (dm-3)"
            ]
        );
    }

    #[test]
    fn d7_partitions_of_a_disk_are_layers_and_a_multipath_map_is_none() {
        let disk = block(FakeHost::default(), "/sys/class/block/sda", "8:0")
            .file("/sys/class/block/sda/sda1/partition", "1\n")
            .file("/sys/class/block/sda1/partition", "1\n")
            .file("/sys/class/block/sda/holders/dm-0/dev", "254:0")
            .file("/sys/class/block/sda/holders/dm-5/dev", "254:5");
        let disk = block(disk, "/sys/class/block/sda1", "8:1");
        let disk = mapped(disk, "dm-0", "254:0", "mpatha", "mpath-3600");
        let disk = mapped(disk, "dm-5", "254:5", "", "");
        assert_eq!(found(&disk, "sda"), ["partition sda1"]);
    }

    #[test]
    fn names_of_logical_volumes() {
        assert_eq!(logical("vg-lv"), Some(("vg".into(), "lv".into())));
        assert_eq!(logical("a--b-c--d-real"), Some(("a-b".into(), "c-d".into())));
        assert_eq!(logical("none"), None);
    }
}
