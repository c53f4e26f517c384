//! Reading sysfs: what is gone while it is looked at is absent, not an error.

use crate::host::{Host, HostError};
use std::io;

/// An attribute without white space around it; `None` when it or its device is gone.
pub(crate) fn attribute(host: &dyn Host, path: &str) -> Result<Option<String>, HostError> {
    match host.read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(HostError::io("read", path, error)),
    }
}

/// The names in a directory; none when it is gone.
pub(crate) fn list(host: &dyn Host, path: &str) -> Result<Vec<String>, HostError> {
    match host.list(path) {
        Ok(names) => Ok(names),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(HostError::io("list", path, error)),
    }
}

/// Whether a directory is there.
pub(crate) fn is_there(host: &dyn Host, path: &str) -> Result<bool, HostError> {
    match host.list(path) {
        Ok(_) => Ok(true),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(HostError::io("list", path, error)),
    }
}

/// The processes that /proc shows.
pub(crate) fn processes(host: &dyn Host) -> Result<Vec<u32>, HostError> {
    Ok(list(host, "/proc")?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Absent, or its device was removed between open and read: kernfs answers ENODEV then (Linux 6.1
/// `fs/kernfs/file.c`), some drivers ENXIO, and device-mapper EINVAL (`drivers/md/dm-sysfs.c` `dm_attr_show`; seen while
/// a map was being removed). Of a process that has ended meanwhile /proc answers ESRCH (`fs/proc/base.c`).
fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    const EINVAL: i32 = 22;
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(ESRCH | ENXIO | ENODEV | EINVAL))
}
