//! What exists on the simulated host, and what it is connected to.
//!
//! Objects, not files: sysfs, /proc and the databases are views of them (`sysfs.rs`), made at each read, so that they cannot
//! contradict each other. What takes time is an `async fn` beside the object it works on.

pub mod blocks;
mod database;
mod disks;
mod iscsiadm;
mod iscsid;
mod maps;
mod multipathd;
mod network;
mod processes;
mod programs;
mod sessions;
mod storage;
mod sysfs;
mod udev;
mod uevents;
mod users;

pub use blocks::{Block, BlockId};
pub use database::{Database, new_record};
pub use disks::{Disk, DiskState, begin_delete, begin_scan};
pub use iscsid::{Iscsid, Login, Power, Terms, kill as kill_iscsid, login, start as start_iscsid};
pub use maps::{Map, MapPath};
pub use multipathd::{FindMultipaths, Multipathd, NoPathRetry, ask, checker, start as start_multipathd};
pub use network::{Link, Mode};
pub use processes::{Locks, Process};
pub use programs::run_program;
pub use sessions::{Session, SessionState};
pub use storage::{Storage, Target, Volume};
pub use sysfs::{View, device_of, list, read, read_link};
pub use udev::{Udev, boot as udev_boot};
pub use uevents::{Subscriber, Uevents};
pub use users::{Use, begin_use, end_use};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::executor::Clock;
use crate::faults::Faults;
use crate::random::Random;

/// How the host is set up: what an administrator, a distribution or a machine may differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// `find_multipaths` of multipath.conf.
    pub find_multipaths: FindMultipaths,
    /// `user_friendly_names yes`: maps are called mpatha, mpathb, …
    pub friendly_names: bool,
    /// `no_path_retry`: how long a map queues without a path.
    pub no_path_retry: NoPathRetry,
    /// The vendor is on multipath's blacklist.
    pub blacklisted: bool,
    /// Where the node database lies: Debian 12 or 13.
    pub nodes: &'static str,
    /// open-iscsi before 2.0.875, which knows no `node.session.scan`.
    pub old_open_iscsi: bool,
    /// Portals have IPv6 addresses.
    pub ipv6: bool,
    /// How slow programs and udev are here: 1 is a quick machine.
    pub slowness: u32,
}

/// The world.
pub struct World {
    /// Time and tasks.
    pub clock: Clock,
    /// Draws latencies and the like.
    pub random: Random,
    /// How the host is set up.
    pub setup: Setup,
    /// What has been drawn to go wrong, and what was met.
    pub faults: Faults,
    /// The network, portal by portal.
    pub links: Vec<Link>,
    /// Targets and volumes.
    pub storage: Storage,
    /// open-iscsi's node database.
    pub database: Database,
    /// open-iscsi's daemon.
    pub iscsid: Iscsid,
    /// Sessions by number.
    pub sessions: BTreeMap<u32, Session>,
    /// SCSI devices by an id that is never used again.
    pub disks: BTreeMap<u64, Disk>,
    /// Multipath maps by an id that is never used again.
    pub maps: BTreeMap<u64, Map>,
    /// Lines of /etc/multipath/wwids that count.
    pub wwids: BTreeSet<String>,
    /// multipath's daemon.
    pub multipathd: Multipathd,
    /// udev's database.
    pub udev: Udev,
    /// Who listens to uevents.
    pub uevents: Uevents,
    /// Processes that /proc shows.
    pub processes: BTreeMap<u32, Process>,
    /// bowline's locks.
    pub locks: Locks,
    /// bowline's state files.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Flushes under way or failed and not told of, as the helper notes them: by the block device.
    pub flushes: BTreeMap<BlockId, Option<i32>>,
    /// What must not be, as it was noticed.
    pub wrongs: Vec<String>,
    /// CHAP secrets, which may stand in node records and nowhere else.
    pub secrets: Vec<String>,
    trace: Option<String>,
    trace_hash: u64,
    serial: u64,
    pids: u32,
}

impl World {
    /// A host on which nothing is attached.
    pub fn new(seed: u64, setup: Setup, links: Vec<Link>, storage: Storage, faults: Faults) -> Self {
        Self {
            clock: Clock::default(),
            random: Random::split(seed, "latencies"),
            setup,
            faults,
            links,
            storage,
            database: Database::default(),
            iscsid: Iscsid::default(),
            sessions: BTreeMap::new(),
            disks: BTreeMap::new(),
            maps: BTreeMap::new(),
            wwids: BTreeSet::new(),
            multipathd: Multipathd::default(),
            udev: Udev::default(),
            uevents: Uevents::default(),
            processes: BTreeMap::new(),
            locks: Locks::default(),
            state: BTreeMap::new(),
            flushes: BTreeMap::new(),
            wrongs: Vec::new(),
            secrets: Vec::new(),
            trace: None,
            trace_hash: 0xcbf2_9ce4_8422_2325,
            serial: 0,
            pids: 400,
        }
    }

    /// Now.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Something that others may wait for has changed.
    pub fn touch(&mut self) {
        self.clock.touch();
    }

    /// A number that is never used again.
    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A process id.
    pub fn pid(&mut self) -> u32 {
        self.pids += 1;
        self.pids
    }

    /// A latency: so many milliseconds, as slow as this machine is.
    pub fn latency(&mut self, low: u64, high: u64) -> Duration {
        self.random.millis(low, high) * self.setup.slowness
    }

    /// Keeps the words of the trace from here on, and not only their digest.
    pub fn keep_trace(&mut self) {
        self.trace = Some(String::new());
    }

    /// Notes what happens. The digest of all notes is what two runs of one seed are compared by.
    pub fn note(&mut self, who: &str, what: std::fmt::Arguments<'_>) {
        let mut line = Digest { hash: self.trace_hash, text: self.trace.take() };
        let _ = writeln!(line, "{:>11.6}  {who:<12} {what}", self.clock.now().as_secs_f64());
        (self.trace_hash, self.trace) = (line.hash, line.text);
    }

    /// What must not be.
    pub fn wrong(&mut self, what: String) {
        self.note("CHECK", format_args!("{what}"));
        self.wrongs.push(what);
    }

    /// The trace so far, if it is kept.
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Stands for the trace (FNV-1a).
    pub fn trace_digest(&self) -> u64 {
        self.trace_hash
    }
}

/// Digests text as it is written, and keeps it where that was asked for.
struct Digest {
    hash: u64,
    text: Option<String>,
}

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(kept) = &mut self.text {
            kept.push_str(text);
        }
        Ok(())
    }
}
