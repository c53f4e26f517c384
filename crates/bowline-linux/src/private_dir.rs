//! A directory of our own that nobody else can write to.
//!
//! What lies in it decides what root deletes and which process waits, so a directory that somebody else could
//! have prepared is refused rather than repaired.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use bowline_host::HostError;

/// Makes the directory (0700) and its parents (0755 less the umask) where they are missing, and checks it.
pub(crate) fn ensure(dir: &Path) -> Result<(), HostError> {
    let failed = |error| HostError::io("create", dir.display().to_string(), error);
    if let Some(parent) = dir.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    check(dir).map(|_| ())
}

/// Whether the directory exists; an error when it is not a directory of ours alone.
pub(crate) fn check(dir: &Path) -> Result<bool, HostError> {
    let refuse = |why: String| Err(HostError::unavailable("use", dir.display().to_string(), why));
    // Not followed: a symbolic link planted in a writable parent would lead elsewhere.
    let found = match fs::symlink_metadata(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(HostError::io("look at", dir.display().to_string(), error)),
    };
    let me = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        return refuse("it is not a directory".into());
    }
    if found.uid() != me {
        return refuse(format!("it belongs to user {}, this process runs as user {me}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return refuse(format!("others can write to it (mode {:o}); it must be 0700", found.mode() & 0o7777));
    }
    Ok(true)
}
