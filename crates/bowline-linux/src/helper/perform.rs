//! The operations themselves. Each call here may wait for ever.

use std::io;
use std::path::{Component, Path};

use bowline_host::host::{Blocking, Failure};
use bowline_host::names::{BlockName, DevNumber};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, fstatfs, fsync, major, minor, open, stat};
use rustix::io::{Errno, pread, write};

use super::flush;

/// How an operation failed: in the kernel's terms, and in words where these do not tell enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationFailed {
    /// The errno.
    pub errno: i32,
    /// What a bare errno would not tell; empty when there is nothing to add.
    pub detail: String,
    /// Of a flush: the device has answered, and another flush would claim success ([`Failure::LostWrite`]).
    pub lost_write: bool,
}

impl OperationFailed {
    fn new(errno: Errno, detail: impl Into<String>) -> Self {
        Self { errno: errno.raw_os_error(), detail: detail.into(), lost_write: false }
    }

    /// As the seam tells it. An I/O error with words of its own keeps its kind but not its number, which
    /// [`io::Error`] cannot hold beside words.
    pub(super) fn into_failure(self) -> Failure {
        let bare = io::Error::from_raw_os_error(self.errno);
        match (self.lost_write, self.detail.is_empty()) {
            (true, true) => Failure::LostWrite(bare.to_string()),
            (true, false) => Failure::LostWrite(self.detail),
            (false, true) => Failure::Io(bare),
            (false, false) => Failure::Io(io::Error::new(bare.kind(), self.detail)),
        }
    }
}

impl From<Errno> for OperationFailed {
    fn from(errno: Errno) -> Self {
        Self::new(errno, "")
    }
}

/// Performs an operation, here and now. The bytes are what was read, if anything was.
pub fn perform(operation: &Blocking) -> Result<Vec<u8>, OperationFailed> {
    match operation {
        Blocking::WriteSysfs { path, text } => write_sysfs(path, text).map(|()| Vec::new()),
        Blocking::Sync { device, number } => sync(device, *number).map(|()| Vec::new()),
        Blocking::ReadFirst { device, number } => read_first(device, *number),
    }
}

/// What statfs says of sysfs (Linux 6.1 `include/uapi/linux/magic.h`).
const SYSFS_MAGIC: u64 = 0x6265_6572;

fn write_sysfs(path: &str, text: &str) -> Result<(), OperationFailed> {
    if !is_below_sys(path) {
        return Err(OperationFailed::new(Errno::PERM, "only attributes below /sys are written"));
    }
    let attribute = open(path, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // Symbolic links on the way are normal in sysfs, and a path could leave it through something mounted there.
    if fstatfs(&attribute)?.f_type as u64 != SYSFS_MAGIC {
        return Err(OperationFailed::new(Errno::PERM, "the path leads out of sysfs"));
    }
    // An attribute takes one write as one value; a second one would be another command.
    match write(&attribute, text.as_bytes())? {
        written if written == text.len() => Ok(()),
        written => {
            let detail = format!("the kernel took {written} of {} bytes", text.len());
            Err(OperationFailed::new(Errno::IO, detail))
        }
    }
}

fn is_below_sys(path: &str) -> bool {
    let components = || Path::new(path).components();
    path.starts_with("/sys/")
        && components().count() > 2
        && !components().any(|part| part == Component::ParentDir)
}

fn sync(device: &BlockName, number: DevNumber) -> Result<(), OperationFailed> {
    is_meant(&stat(device.device_node())?, device, number)?;
    // The working directory is the run directory.
    let note = flush::note_of(Path::new(""), device, number);
    let open = || {
        let file = open_device(device, number, OFlags::empty())?;
        // While another flush was waited for, name and number may have come to mean another device.
        match flush::note_of(Path::new(""), device, number) == note {
            true => Ok(file),
            false => Err(OperationFailed::new(Errno::STALE, format!("{device} is another device now"))),
        }
    };
    // The descriptor is closed before the report is sent: a helper must not be what keeps a map in use.
    flush::flush(&note, open, |file| fsync(file))
}

/// What O_DIRECT asks of memory: alignment to a logical block, which is at most a page.
#[repr(align(4096))]
struct Page([u8; 4096]);

fn read_first(device: &BlockName, number: DevNumber) -> Result<Vec<u8>, OperationFailed> {
    let file = open_device(device, number, OFlags::DIRECT)?;
    let mut page = Box::new(Page([0; 4096]));
    match pread(&file, &mut page.0, 0)? {
        4096 => Ok(page.0.to_vec()),
        count => Err(OperationFailed::new(Errno::IO, format!("{count} of 4096 bytes could be read"))),
    }
}

/// Opens a device for reading and proves that it is the one that was meant: names are reused.
fn open_device(device: &BlockName, number: DevNumber, extra: OFlags) -> Result<OwnedFd, OperationFailed> {
    let node = device.device_node();
    let file = open(&node, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | extra, Mode::empty())?;
    is_meant(&fstat(&file)?, device, number)?;
    Ok(file)
}

fn is_meant(found: &Stat, device: &BlockName, number: DevNumber) -> Result<(), OperationFailed> {
    let node = device.device_node();
    if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
        return Err(OperationFailed::new(Errno::NOTBLK, format!("{node} is no block device")));
    }
    let actual = DevNumber { major: major(found.st_rdev), minor: minor(found.st_rdev) };
    if actual != number {
        let detail = format!("{node} is device {actual} now, expected {number}");
        return Err(OperationFailed::new(Errno::STALE, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_sys_are_written() {
        for path in
            ["/etc/passwd", "/sys", "/sys/", "/sys/../etc/passwd", "/sys/a/../b", "sys/a", "/system/a"]
        {
            let operation = Blocking::WriteSysfs { path: path.into(), text: "1".into() };
            let failed = perform(&operation).unwrap_err();
            assert_eq!(failed.errno, Errno::PERM.raw_os_error(), "{path}");
        }
        assert!(is_below_sys("/sys/class/scsi_host/host2/scan"));
    }

    #[test]
    fn an_absent_attribute_and_an_absent_device_are_not_found() {
        let write = Blocking::WriteSysfs { path: "/sys/class/none/here".into(), text: "1".into() };
        assert_eq!(perform(&write).unwrap_err().errno, Errno::NOENT.raw_os_error());
        let sync =
            Blocking::Sync { device: "sd-none".parse().unwrap(), number: DevNumber { major: 8, minor: 0 } };
        assert_eq!(perform(&sync).unwrap_err().errno, Errno::NOENT.raw_os_error());
    }

    #[test]
    fn a_node_that_is_no_block_device_is_refused() {
        let operation =
            Blocking::Sync { device: "null".parse().unwrap(), number: DevNumber { major: 1, minor: 3 } };
        assert_eq!(perform(&operation).unwrap_err().errno, Errno::NOTBLK.raw_os_error());
    }
}
