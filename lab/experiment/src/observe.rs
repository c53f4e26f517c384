//! What an attach has handed out, as the kernel tells it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::programs::limited;

/// Nothing that is asked here takes longer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A block device by the kernel's name.
#[derive(Clone, Debug)]
pub struct Device {
    /// Where it can be opened.
    pub node: PathBuf,
    name: String,
}

impl Device {
    /// The device that a path leads to; nothing where there is none.
    pub fn behind(path: &str) -> Option<Self> {
        let node = fs::canonicalize(path).ok()?;
        let name = node.file_name()?.to_string_lossy().into_owned();
        Path::new("/sys/class/block").join(&name).exists().then_some(Self { node, name })
    }

    /// Whether it is a multipath map.
    pub fn is_map(&self) -> bool {
        fs::read_to_string(format!("/sys/class/block/{}/dm/uuid", self.name))
            .is_ok_and(|uuid| uuid.starts_with("mpath-"))
    }

    /// What the kernel calls the disks below it, or itself where there is none: it asks a disk once, when it appears
    /// (Linux 6.1, `drivers/scsi/scsi_sysfs.c`, `wwid`).
    pub fn identities(&self) -> Vec<String> {
        let slaves = fs::read_dir(format!("/sys/class/block/{}/slaves", self.name)).into_iter().flatten();
        let mut disks: Vec<_> = slaves.flatten().map(|slave| slave.path()).collect();
        if disks.is_empty() {
            disks.push(Path::new("/sys/class/block").join(&self.name));
        }
        let identity = |disk: PathBuf| fs::read_to_string(disk.join("device/wwid")).ok();
        disks.into_iter().filter_map(identity).map(|identity| identity.trim().to_owned()).collect()
    }

    /// How many disks it lies upon.
    pub fn slaves(&self) -> usize {
        fs::read_dir(format!("/sys/class/block/{}/slaves", self.name)).map_or(0, |slaves| slaves.count())
    }

    /// How many working paths it has now, a disk that is not in a map being its own; nothing where device-mapper does not answer.
    pub fn paths(&self) -> Option<usize> {
        if !self.is_map() {
            return Some(1);
        }
        // By number: the map's name may not be below /dev yet.
        let number = fs::read_to_string(format!("/sys/class/block/{}/dev", self.name)).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        let status =
            limited(LIMIT, "dmsetup").args(["status", "--noflush", "-j", major, "-m", minor]).output();
        let status = status.ok().filter(|output| output.status.success())?;
        Some(working_paths(&String::from_utf8_lossy(&status.stdout)))
    }
}

/// In the status of a map, MAJOR:MINOR of a path is followed by A while it works, by F when it does not (Linux 6.1,
/// `drivers/md/dm-mpath.c`, `multipath_status`).
fn working_paths(status: &str) -> usize {
    let words: Vec<&str> = status.split_whitespace().collect();
    let path = |word: &str| word.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor));
    words.windows(2).filter(|pair| path(pair[0]) && pair[1] == "A").count()
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_paths_are_counted() {
        let status = "0 131072 multipath 2 0 0 0 4 1 A 0 1 2 8:0 A 0 0 1 E 0 1 2 8:16 A 0 0 1 E 0 1 2 8:48 F 1 0 1 \
                      E 0 1 2 8:32 A 0 0 1 ";
        assert_eq!(working_paths(status), 3);
        assert_eq!(working_paths(""), 0);
    }
}
