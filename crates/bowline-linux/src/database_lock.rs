//! The lock file of open-iscsi's database, so made that everybody can tell whether its holder lives.
//!
//! open-iscsi knows only that the file is there. Ours is written and flocked before it gets its name, so nobody ever sees it
//! without its mark or unheld while its maker lives; the kernel lets go of the flock when the maker dies. Process ids
//! would not do: they are used again, and those of a container mean nothing outside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bowline_host::host::LockGuard;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat};
use rustix::io::Errno;

/// Where open-iscsi keeps its lock (`LOCK_DIR`; 2.1.8 `/run/lock/iscsi`, older `/var/lock/iscsi`).
const DIRS: [&str; 2] = ["/run/lock/iscsi", "/var/lock/iscsi"];

/// The flock that says that the maker of the file lives.
#[derive(Debug)]
pub(crate) struct Held {
    /// Closing it lets go.
    _file: File,
}

impl LockGuard for Held {}

/// Makes the lock file with these bytes in it.
pub(crate) fn create(path: &str, bytes: &[u8]) -> io::Result<Held> {
    let path = place(path)?;
    if let Some(dir) = path.parent()
        && !dir.exists()
    {
        // /run is empty after a boot; the first iscsiadm makes this directory, and so do we.
        fs::create_dir_all(dir)?;
    }
    create_at(&path, bytes)
}

fn create_at(path: &Path, bytes: &[u8]) -> io::Result<Held> {
    let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(dir, flags, Mode::from_raw_mode(0o644))?);
    file.write_all(bytes)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(Held { _file: file })
}

/// Removes the lock file if it has this mark and its maker is dead.
pub(crate) fn remove_dead(path: &str, mark: &[u8]) -> io::Result<()> {
    remove_dead_at(&place(path)?, mark)
}

fn remove_dead_at(path: &Path, mark: &[u8]) -> io::Result<()> {
    // O_NONBLOCK: should it be a FIFO, opening it must not wait.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut begins = Vec::new();
    Read::by_ref(&mut file).take(mark.len() as u64).read_to_end(&mut begins)?;
    if begins != mark {
        return Ok(());
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        held => held?,
    }
    // Whoever removes this file holds its flock, so from here on the name cannot come to mean another.
    let is_same = |there: fs::Metadata| Ok(there.ino() == file.metadata()?.ino());
    match fs::symlink_metadata(path).and_then(is_same) {
        Ok(true) => fs::remove_file(path),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Accepts a file directly in a directory of open-iscsi's lock.
pub(crate) fn place(path: &str) -> io::Result<PathBuf> {
    let path = Path::new(path);
    let allowed = DIRS.iter().any(|dir| path.parent() == Some(Path::new(dir)));
    match allowed && path.file_name().is_some() {
        true => Ok(path.into()),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "only files in the directory of open-iscsi's lock may be made or removed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &[u8] = b"bowline ";

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("bowline-lock-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir.join("lock.write")
    }

    #[test]
    fn only_the_lock_of_open_iscsi_may_be_made() {
        for path in ["/etc/passwd", "/run/lock/iscsi/../x", "/run/lock/iscsi/..", "lock", "/run/lock/iscsi"] {
            assert_eq!(place(path).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{path}");
        }
        assert!(place("/run/lock/iscsi/lock.write").is_ok());
    }

    /// C1: whose maker lives is never removed, and whose maker has died is, at once.
    #[test]
    fn c1_the_file_tells_whether_its_maker_lives() {
        let path = scratch("dead");
        let held = create_at(&path, b"bowline 7\n").unwrap();
        assert_eq!(create_at(&path, b"bowline 8\n").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"bowline 7\n", "written before it had its name");
        remove_dead_at(&path, MARK).unwrap();
        assert!(path.exists(), "its maker lives");
        drop(held);
        remove_dead_at(&path, MARK).unwrap();
        assert!(!path.exists());
        remove_dead_at(&path, MARK).unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn the_lock_of_an_iscsiadm_stays() {
        let path = scratch("iscsiadm");
        for bytes in ["", "bow", "something else"] {
            fs::write(&path, bytes).unwrap();
            remove_dead_at(&path, MARK).unwrap();
            assert!(path.exists(), "{bytes:?}");
        }
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
