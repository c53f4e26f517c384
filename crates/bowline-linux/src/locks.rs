//! Locks between the bowline processes of one machine: flock on files below the run directory.
//!
//! The kernel lets go of a flock when the last descriptor of its open file is closed, so a lock dies with its
//! process whatever kills that. Descriptors are close-on-exec: no program and no helper inherits one, but for a program
//! that is to keep them ([`bowline_host::host::Program::keeps_locks`], `inherit`).
//!
//! Lock files are never removed. Removing one while another process has it open, waiting, would leave two
//! processes each holding "the" lock on a different file of the same name. They are empty but for a pid, and
//! /run does not survive a boot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bowline_host::HostError;
use bowline_host::host::LockGuard;
use rustix::fs::{FlockOperation, flock};

use crate::{clock, private_dir};

/// flock has no event to wait for: it is tried, or it blocks a thread. Trying costs one system call.
const POLL: Duration = Duration::from_millis(10);

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Held {
    /// Closing it lets go.
    _file: Arc<File>,
}

/// The locks that are held through one host.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Mutex<Vec<Weak<File>>>,
}

impl Locks {
    /// The files of those that are held now. Whoever has one of them open keeps the lock.
    pub(crate) fn files(&self) -> Vec<Arc<File>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter_map(Weak::upgrade).collect()
    }

    fn note(&self, file: &Arc<File>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|file| file.strong_count() > 0);
        held.push(Arc::downgrade(file));
    }
}

impl LockGuard for Held {}

/// Takes a lock, waiting at most `limit`.
pub(crate) async fn lock(
    locks: &Locks,
    run_dir: &Path,
    name: &str,
    limit: Duration,
) -> Result<Held, HostError> {
    let end = clock::now() + limit;
    let mut file = open(run_dir, name)?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(HostError::io("lock", name, error.into())),
        }
        let left = end.since(clock::now());
        if left.is_zero() {
            let object = format!("{name} ({})", holder(&mut file));
            return Err(HostError::timed_out("lock", object, limit));
        }
        tokio::time::sleep(POLL.min(left)).await;
    }
    // Only for the message of whoever waits in vain: the lock itself does not depend on it.
    let _ = note_holder(&mut file);
    let file = Arc::new(file);
    locks.note(&file);
    Ok(Held { _file: file })
}

fn open(run_dir: &Path, name: &str) -> Result<File, HostError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(HostError::unavailable("lock", name, "the name must be one path component"));
    }
    let dir: PathBuf = run_dir.join("locks");
    private_dir::ensure(run_dir)?;
    private_dir::ensure(&dir)?;
    // std opens with O_CLOEXEC.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(name))
        .map_err(|error| HostError::io("lock", name, error))
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// Who holds the lock, as far as the file tells.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(command) => format!("held by {}, pid {pid}", command.trim()),
            Err(_) => format!("held by pid {pid}"),
        },
        _ => "its holder is unknown".into(),
    }
}
