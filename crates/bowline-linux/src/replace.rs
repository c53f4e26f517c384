//! Replacing a file whole.
//!
//! The new content is written to a temporary name, synced, renamed over the old, and the directory synced: a
//! reader finds the old content or the new, and so does whoever looks after a power cut.
//!
//! Each writer has a temporary name of its own, so that two at once cannot rename each other's half-written
//! file into place. What writers leave behind when they die is removed by the next one: it may be a secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = ".bowline-";

/// Tells the threads of one process apart.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Replaces `target` (0600), durably on return. `temporary_dir` must lie on the same file system.
pub(crate) fn replace(temporary_dir: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_leftovers(temporary_dir)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = temporary_dir.join(format!("{PREFIX}{}-{count}", std::process::id()));
    let result = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, target));
    if let Err(error) = result {
        // The first error is the one that tells what happened.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    target.parent().map_or(Ok(()), sync_directory)
}

/// Makes the names of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// `None` instead of an error that says there is no such file.
pub(crate) fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a file anew. One that an earlier process of our number left is removed first: neither its content
/// nor its mode is to be trusted.
fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    absent_is_none(fs::remove_file(path))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes the temporary files of writers that have died.
pub(crate) fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let writer = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        if writer.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            // Another process may be tidying up as well.
            absent_is_none(fs::remove_file(dir.join(&name)))?;
        }
    }
    Ok(())
}
