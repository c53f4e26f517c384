//! multipath's wwids file, changed where it lies.
//!
//! multipath, multipathd and udev's `multipath -u` each take a lock (fcntl, `F_SETLKW`) on the whole file around every look at it
//! (0.9.4 `libmultipath/file.c` `open_file`), and change it in place (`wwids.c`): a file renamed over it would be another one than
//! they have locked. So it is not replaced, and the same lock is taken: the kernel lets a lock of an open file
//! (`F_OFD_SETLK`) and one of a process exclude each other (Linux 6.1 `fs/locks.c`), and only the first kind keeps two threads
//! of this process apart and survives that another of them closes the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use bowline_host::host::Patch;
use rustix::fs::OFlags;

use crate::files::MOST;

/// libmultipath `DEFAULT_WWIDS_FILE`.
const FILE: &str = "/etc/multipath/wwids";

/// Changes the file, unless another has its lock.
pub(crate) fn patch(change: &dyn Fn(&[u8]) -> Vec<Patch>) -> io::Result<()> {
    patch_at(FILE, change)
}

fn patch_at(path: &str, change: &dyn Fn(&[u8]) -> Vec<Patch>) -> io::Result<()> {
    // O_NONBLOCK: should it be a FIFO, opening it must not wait.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let locked = Locked::take(&file)?;
    let mut content = Vec::new();
    (&file).take(MOST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 32 MiB"));
    }
    for patch in change(&content) {
        let written = file.write_all_at(&patch.bytes, patch.at as u64);
        if written.is_err() && patch.at == content.len() {
            // Half a line at the end would make the next one a part of it. The first error is the one that tells.
            let _ = file.set_len(patch.at as u64);
        }
        written?;
    }
    drop(locked);
    Ok(())
}

/// The lock, held until it is dropped. It is let go of expressly: a process that another thread forks meanwhile has the open file
/// as well, and would keep the lock for as long as it lives.
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    fn take(file: &'a File) -> io::Result<Self> {
        set(file, libc::F_WRLCK)?;
        Ok(Self(file))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Nothing can be done about an error, and closing the file lets go of it as well.
        let _ = set(self.0, libc::F_UNLCK);
    }
}

// The kernel takes these requests with 64-bit offsets only.
const _: () = assert!(size_of::<libc::off_t>() == 8);

fn set(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: `flock` is plain integers, for which zero is valid: from the beginning, to the end, however long it grows. The
    // descriptor is open for the call, and the kernel only reads the structure.
    let done = unsafe {
        let mut whole: libc::flock = std::mem::zeroed();
        whole.l_type = kind as libc::c_short;
        whole.l_whence = libc::SEEK_SET as libc::c_short;
        libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole)
    };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, fcntl_lock};

    fn scratch(name: &str, content: &str) -> String {
        let path = std::env::temp_dir().join(format!("bowline-wwids-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn line(at: usize, bytes: &str) -> Vec<Patch> {
        vec![Patch { at, bytes: bytes.into() }]
    }

    #[test]
    fn it_is_changed_where_it_lies() {
        use std::os::unix::fs::MetadataExt;
        let path = scratch("place", "#a/\n/b/\n");
        let before = std::fs::metadata(&path).unwrap().ino();
        patch_at(&path, &|content| line(content.len(), "/c/\n")).unwrap();
        patch_at(&path, &|_| line(0, "/")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "/a/\n/b/\n/c/\n");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(patch_at(&path, &|_| Vec::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// multipath's lock is one of its process; ours and it exclude each other.
    #[test]
    fn multipaths_lock_keeps_it_out() {
        let path = scratch("lock", "");
        let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        fcntl_lock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(patch_at(&path, &|_| Vec::new()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(other);
        patch_at(&path, &|_| {
            let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            assert!(fcntl_lock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
            Vec::new()
        })
        .unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    /// multipath waits 30 s for it, and multipathd with all its maps.
    #[test]
    fn who_has_the_same_open_file_does_not_keep_the_lock() {
        let path = scratch("forked", "");
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let forked = file.try_clone().unwrap();
        drop(Locked::take(&file).unwrap());
        patch_at(&path, &|_| Vec::new()).unwrap();
        drop(forked);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for path in ["/dev/null", "/proc"] {
            assert!(patch_at(path, &|_| unreachable!()).is_err(), "{path}");
        }
    }
}
