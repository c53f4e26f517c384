//! The trait every host implements: the real one and the simulated one.
//!
//! Rules of the seam:
//! - What is synchronous here is a cheap read that cannot block: sysfs and /proc attributes, udev's database,
//!   read-only device-mapper requests, our own small state files.
//! - What can block in the kernel (an operation of [`Blocking`]) runs in a process of its own that can be
//!   abandoned, and has a limit.
//! - Every program, question and lock has a deadline.

use std::fmt;
use std::io;
use std::ops::{Add, Sub};
use std::time::Duration;

use async_trait::async_trait;

use crate::names::{BlockName, DevNumber, MapName};

/// A point on the host's monotonic clock, counted from an arbitrary origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, time: Duration) -> Moment {
        Moment(self.0 + time)
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, time: Duration) -> Moment {
        Moment(self.0.saturating_sub(time))
    }
}

/// An operation of the host that failed: what was tried, on what, and how it ended.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {failure}")]
pub struct HostError {
    /// What was tried: "read", "run", "ask multipathd".
    pub operation: &'static str,
    /// On what: a path, a program, a device.
    pub object: String,
    /// How it failed.
    pub failure: Failure,
}

/// How an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel or a library refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It did not end within its limit; what it did is unknown.
    #[error("no end within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// It cannot be done here; the reason.
    #[error("{0}")]
    Unavailable(String),
    /// Of a flush: the device has answered with an error, or nobody knows how it has answered. The kernel tells of a lost
    /// write once, to the fsync that notices it, whatever the number (EIO, ENOSPC, ENODATA, EREMOTEIO, …: Linux 6.1 `block/blk-core.c`,
    /// `blk_errors`), so that another flush would claim success (D11).
    #[error("{0}")]
    LostWrite(String),
}

impl HostError {
    /// An error from the kernel.
    pub fn io(operation: &'static str, object: impl Into<String>, error: io::Error) -> Self {
        Self { operation, object: object.into(), failure: Failure::Io(error) }
    }

    /// An operation that was given up at its limit.
    pub fn timed_out(operation: &'static str, object: impl Into<String>, limit: Duration) -> Self {
        Self { operation, object: object.into(), failure: Failure::TimedOut(limit) }
    }

    /// Something this host does not have.
    pub fn unavailable(operation: &'static str, object: impl Into<String>, why: impl Into<String>) -> Self {
        Self { operation, object: object.into(), failure: Failure::Unavailable(why.into()) }
    }

    /// A flush that tells of a loss; how the device answered.
    pub fn lost_write(operation: &'static str, object: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { operation, object: object.into(), failure: Failure::LostWrite(answer.into()) }
    }

    /// Whether a flush tells of a loss. Every other failure of a flush has asked the device nothing, or has not come to its end.
    pub fn is_lost_write(&self) -> bool {
        matches!(self.failure, Failure::LostWrite(_))
    }

    /// Whether the limit was hit.
    pub fn is_timeout(&self) -> bool {
        matches!(self.failure, Failure::TimedOut(_))
    }

    /// Whether this host has not what it takes.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.failure, Failure::Unavailable(_))
    }

    /// The kind of the underlying I/O error, if it is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match &self.failure {
            Failure::Io(error) => Some(error.kind()),
            _ => None,
        }
    }

    /// The errno of the underlying I/O error, if it has one.
    pub fn errno(&self) -> Option<i32> {
        match &self.failure {
            Failure::Io(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

/// A program to run: absolute or found on PATH, with null standard input and the C locale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its arguments. Never a secret (B8).
    pub args: Vec<String>,
    /// How long it may take. After that it is sent SIGTERM (never SIGKILL while it may hold a lock of
    /// open-iscsi's database, see [`Program::abandon`]).
    pub limit: Duration,
    /// At the limit, leave it running instead of ending it. iscsiadm must not be killed while it works on its
    /// database: a `lock.write` left behind stalls every other iscsiadm for 30 s (open-iscsi 2.1.8 `idbm_lock`).
    pub abandon: bool,
    /// It keeps the locks this host holds when it begins, until it ends. A program that changes a database of others
    /// goes on when this process is killed; whoever comes next must not look before it is done. Never for a program
    /// that may start a daemon: the daemon would keep them for ever.
    pub keeps_locks: bool,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, lossily decoded, at most 1 MiB.
    pub stdout: String,
    /// Standard error, lossily decoded, at most 1 MiB.
    pub stderr: String,
}

/// An operation that can block in the kernel. It runs in a helper process and can be abandoned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Blocking {
    /// Writes to a sysfs attribute (`scan`, `delete`, `rescan`, `state`). The path is absolute, below /sys.
    WriteSysfs {
        /// The attribute.
        path: String,
        /// What to write.
        text: String,
    },
    /// fsync of a block device through an O_RDONLY descriptor: writes its dirty pages and sends a cache flush.
    /// Closing a writable descriptor would wake udev; BLKFLSBUF always returns 0 (Linux 6.1 `block/ioctl.c`).
    Sync {
        /// The device.
        device: BlockName,
        /// The number the device must have once opened.
        number: DevNumber,
    },
    /// One O_DIRECT read of the first 4096 bytes: proves that the device can be used now.
    ReadFirst {
        /// The device.
        device: BlockName,
        /// The number the device must have once opened.
        number: DevNumber,
    },
}

impl fmt::Display for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteSysfs { path, text } => write!(f, "write {text:?} to {path}"),
            Self::Sync { device, .. } => write!(f, "sync {device}"),
            Self::ReadFirst { device, .. } => write!(f, "read the first block of {device}"),
        }
    }
}

/// Which device-mapper device is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DmId {
    /// By UUID: the only proof that a map is the one of a volume.
    Uuid(String),
    /// By name.
    Name(MapName),
}

/// What the kernel says of one device-mapper device (DM_DEV_STATUS, DM_TABLE_DEPS, DM_TABLE_STATUS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmDevice {
    /// Its name.
    pub name: String,
    /// Its UUID; empty when it has none.
    pub uuid: String,
    /// Its number.
    pub number: DevNumber,
    /// How often it is open: openers, mounts, and devices stacked on it.
    pub open_count: u32,
    /// Whether I/O is held back.
    pub suspended: bool,
    /// Whether it has a live table.
    pub live_table: bool,
    /// The devices its table refers to.
    pub deps: Vec<DevNumber>,
    /// The live table, one line a target: `START LENGTH TYPE PARAMS`.
    pub table: Vec<String>,
    /// The status, one line a target: `START LENGTH TYPE STATUS`.
    pub status: Vec<String>,
}

/// Something happened to a block device, and udev's rules have run for it (netlink group 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// Below /sys, without that prefix.
    pub devpath: String,
    /// Of a device-mapper device its UUID.
    pub dm_uuid: Option<String>,
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UeventNotice {
    /// An event.
    Event(Uevent),
    /// Events were lost (ENOBUFS): observe afresh.
    Lost,
}

/// A subscription to what udev tells of block devices. Subscribe first, then look.
#[async_trait]
pub trait UeventStream: Send {
    /// The next notice. Cancelling the future loses none.
    async fn next(&mut self) -> Result<UeventNotice, HostError>;
    /// The next notice if one has already arrived.
    fn try_next(&mut self) -> Option<UeventNotice>;
}

/// Bytes that go into a file, over what is there or behind its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where, in bytes from the file's beginning.
    pub at: usize,
    /// What.
    pub bytes: Vec<u8>,
}

impl Patch {
    /// The content with that in it.
    pub fn apply(&self, content: &mut Vec<u8>) {
        let end = self.at + self.bytes.len();
        content.resize(content.len().max(end), 0);
        content[self.at..end].copy_from_slice(&self.bytes);
    }
}

/// A lock that is held until it is dropped. It dies with its process.
pub trait LockGuard: Send {}

/// A Linux host, as far as attaching volumes goes. See the module's rules.
#[async_trait]
pub trait Host: Send + Sync {
    /// Reads a small file: an attribute of sysfs or /proc, udev's database, a file of open-iscsi's database.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Names in a directory, sorted. Names that are no UTF-8 are left out: none of ours is among them.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Where a symbolic link points, as it is written.
    fn read_link(&self, path: &str) -> io::Result<String>;

    /// The number of the block device whose node a path leads to, also through `/proc/PID/fd/N` and below `/proc/PID/root`; `None` where it leads to anything
    /// else. Neither the device nor a server is asked: where the kernel would have to, that is an error.
    fn device_of(&self, path: &str) -> io::Result<Option<DevNumber>>;

    /// Looks at one device-mapper device; `None` when there is none.
    fn dm(&self, id: &DmId) -> Result<Option<DmDevice>, HostError>;

    /// Runs a program to its end or its limit.
    async fn run(&self, program: &Program) -> Result<Ended, HostError>;

    /// Sends multipathd one command and returns its reply without the final NUL and newline.
    async fn ask_multipathd(&self, command: &str, limit: Duration) -> Result<String, HostError>;

    /// Runs an operation that can block, in a helper process. At the limit the process is abandoned (ended if
    /// the kernel lets it) and the error is a time-out. The bytes are what was read, if anything was.
    async fn blocking(&self, operation: &Blocking, limit: Duration) -> Result<Vec<u8>, HostError>;

    /// That a flush of this device failed was passed on or written down. Until then every other flush of it is told that it
    /// failed, since the kernel tells of a lost write once.
    fn flush_told(&self, device: &BlockName, number: DevNumber);

    /// What acting takes may be made ready: somebody is about to look, and then to act.
    fn about_to_act(&self) {}

    /// Subscribes to uevents.
    fn uevents(&self) -> Result<Box<dyn UeventStream>, HostError>;

    /// Now, on the monotonic clock.
    fn now(&self) -> Moment;

    /// Seconds since 1970, for records that people read. Never used for a decision.
    fn wall_clock(&self) -> u64;

    /// Sleeps until a moment.
    async fn sleep_until(&self, moment: Moment);

    /// Takes a lock shared with every bowline process of this host; the name is one path component.
    async fn lock(&self, name: &str, limit: Duration) -> Result<Box<dyn LockGuard>, HostError>;

    /// Reads a state file; `None` when there is none. Names are `FOLDER/FILE`.
    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// Writes a state file so that after a crash it is the old one or the new one, and durable on return.
    fn store_state(&self, name: &str, bytes: &[u8]) -> Result<(), HostError>;

    /// Removes a state file, durably. Removing what is absent is no error.
    fn remove_state(&self, name: &str) -> Result<(), HostError>;

    /// Files in a state folder, sorted; none when there is no such folder.
    fn list_state(&self, folder: &str) -> Result<Vec<String>, HostError>;

    /// Replaces a file of open-iscsi's database whole (0600, a temporary file outside the portal's directory,
    /// fsync, rename). Only for [`crate::iscsi`], which holds open-iscsi's own lock meanwhile.
    fn replace_file(&self, path: &str, bytes: &[u8]) -> Result<(), HostError>;

    /// Changes multipath's wwids file where it lies, under the lock (fcntl) that multipath takes on it. `change` is given the content
    /// and says what is written where. `WouldBlock` while another has the lock; `NotFound` where there is no file: none is made.
    fn patch_wwids(&self, change: &(dyn Fn(&[u8]) -> Vec<Patch> + Sync)) -> io::Result<()>;

    /// Makes the file that is open-iscsi's database lock, with these bytes in it from its first moment. One that is there is
    /// `AlreadyExists`. The guard tells others that its holder lives; the file is removed by [`Host::remove_file`] before
    /// the guard is dropped.
    fn create_lock(&self, path: &str, bytes: &[u8]) -> io::Result<Box<dyn LockGuard>>;

    /// Removes a file made by [`Host::create_lock`] whose content begins with `mark` and whose guard is gone, since its
    /// process has died. Another, or none, is no error.
    fn break_lock(&self, path: &str, mark: &[u8]) -> io::Result<()>;

    /// Removes one file made by [`Host::create_lock`], or a record of open-iscsi's database (and its target's directory, if
    /// it was the last one in it). The latter only for [`crate::iscsi`], as with [`Host::replace_file`].
    fn remove_file(&self, path: &str) -> io::Result<()>;

    /// The process id of this process, as /proc shows it.
    fn process_id(&self) -> u32;
}
