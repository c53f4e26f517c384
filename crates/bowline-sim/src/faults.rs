//! What goes wrong, and which of it was met.
//!
//! Two kinds of fault: one strikes at the n-th call of a sort that bowline makes across the seam, the other happens to the
//! host at a time. Both are data drawn from the seed, so that a scenario can be run again without some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A sort of call across the seam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Reads a file.
    Read,
    /// Lists a directory.
    List,
    /// Reads a link.
    Link,
    /// Looks at a device-mapper device.
    Dm,
    /// Runs a program.
    Run,
    /// Asks multipathd.
    Ask,
    /// Has something done that can block.
    Blocking,
    /// Subscribes to uevents.
    Uevents,
    /// Takes a lock.
    Lock,
    /// Reads a state file.
    Load,
    /// Writes a state file.
    Store,
    /// Removes a state file.
    Remove,
    /// Replaces a record.
    Replace,
    /// Changes multipath's wwids file.
    Patch,
    /// Takes open-iscsi's lock.
    DatabaseLock,
    /// Removes a record, or lets go of open-iscsi's lock.
    RemoveFile,
}

/// Every sort of call.
pub const CALLS: [Call; 16] = [
    Call::Read,
    Call::List,
    Call::Link,
    Call::Dm,
    Call::Run,
    Call::Ask,
    Call::Blocking,
    Call::Uevents,
    Call::Lock,
    Call::Load,
    Call::Store,
    Call::Remove,
    Call::Replace,
    Call::Patch,
    Call::DatabaseLock,
    Call::RemoveFile,
];

impl Call {
    /// Whether it takes time: such a call can be slow, or hang.
    pub fn waits(self) -> bool {
        matches!(self, Self::Run | Self::Ask | Self::Blocking)
    }
}

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It fails, and has done nothing.
    Error,
    /// It takes so much longer.
    Delay(Duration),
    /// It does not end within its limit.
    Hang,
    /// The process dies there (SIGKILL).
    Death,
}

/// What happens to the host at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Packets vanish at some portals.
    BlackHole(BTreeSet<usize>, Duration),
    /// Some portals refuse connections.
    Reject(BTreeSet<usize>, Duration),
    /// Some portals take logins and answer no command.
    Silent(BTreeSet<usize>, Duration),
    /// Packets are lost, so many of a thousand, at some portals.
    Loss(BTreeSet<usize>, u64, Duration),
    /// Round trips take longer at some portals.
    Slow(BTreeSet<usize>, Duration, Duration),
    /// Connections are reset once.
    Reset(BTreeSet<usize>),
    /// iscsid dies, and is started after a while.
    IscsidDies(Duration),
    /// iscsid stands still for a while.
    IscsidFreezes(Duration),
    /// multipathd dies, and is started after a while.
    MultipathdDies(Duration),
    /// multipathd stands still for a while.
    MultipathdFreezes(Duration),
    /// multipathd is busy: everything waits so long in it.
    MultipathdBusy(Duration, Duration),
    /// udev is slow: every pass takes so much longer.
    UdevBusy(Duration, Duration),
    /// The buffers of uevents run over.
    EventsLost,
    /// The target exports a volume no more, for a while.
    Unmapped(usize, Duration),
    /// The target has another volume behind the LUN, for a while (B3: a LUN that is reused).
    Reused(usize, usize, Duration),
    /// Somebody else scans for a LUN below every session.
    ForeignScan(usize),
    /// Others use a volume of theirs below the sessions of that volume.
    ForeignVolume(usize),
    /// The process of a lane is asked to stop (SIGTERM).
    Signal(usize),
    /// The process of a lane dies (SIGKILL).
    Killed(usize),
    /// iscsiadm of others has died and left its lock behind, for a while.
    StaleDatabaseLock(Duration),
}

/// Something that a run may meet: the coverage of what is simulated. One that is never met fails a long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A call of the seam failed.
    CallFails(Call),
    /// The process died at a call.
    Dies(Call),
    /// A call was slow.
    Slow(Call),
    /// A call hung.
    Hangs(Call),
    /// A trouble of that name began.
    Trouble(&'static str),
    /// A verb ended so.
    Outcome(&'static str),
    /// A rule of the planner was met.
    #[cfg(feature = "sabotage")]
    Rule(bowline::Rule),
    /// "Session exists" was answered.
    SessionExists,
    /// A session that cannot be logged out of came to be.
    Wedged,
    /// A write was lost.
    WriteLost,
}

/// The names of every trouble.
pub const TROUBLES: [&str; 20] = [
    "black hole",
    "reject",
    "silent",
    "loss",
    "slow",
    "reset",
    "iscsid dies",
    "iscsid freezes",
    "multipathd dies",
    "multipathd freezes",
    "multipathd busy",
    "udev busy",
    "events lost",
    "unmapped",
    "reused",
    "foreign scan",
    "signal",
    "killed",
    "stale database lock",
    "foreign volume",
];

/// How verbs end.
const OUTCOMES: [&str; 14] = [
    "connected, map",
    "connected, device",
    "connect died",
    "not attached",
    "leftovers",
    "refused",
    "host",
    "identity",
    "clean",
    "data may be lost",
    "unchanged",
    "disconnect died",
    "finished",
    "inspected",
];

impl Mark {
    /// Everything that can be met.
    pub fn all() -> Vec<Self> {
        let calls = CALLS.iter().flat_map(|call| [Self::CallFails(*call), Self::Dies(*call)]);
        let waiting = CALLS.iter().filter(|call| call.waits());
        let slow = waiting.flat_map(|call| [Self::Slow(*call), Self::Hangs(*call)]);
        let marks = calls
            .chain(slow)
            .chain(TROUBLES.iter().map(|name| Self::Trouble(name)))
            .chain(OUTCOMES.iter().map(|name| Self::Outcome(name)))
            .chain([Self::SessionExists, Self::Wedged, Self::WriteLost]);
        #[cfg(feature = "sabotage")]
        let marks = marks.chain(bowline::Rule::ALL.iter().map(|rule| Self::Rule(*rule)));
        marks.collect()
    }
}

impl Trouble {
    /// Its name.
    pub fn name(&self) -> &'static str {
        TROUBLES[match self {
            Self::BlackHole(..) => 0,
            Self::Reject(..) => 1,
            Self::Silent(..) => 2,
            Self::Loss(..) => 3,
            Self::Slow(..) => 4,
            Self::Reset(..) => 5,
            Self::IscsidDies(..) => 6,
            Self::IscsidFreezes(..) => 7,
            Self::MultipathdDies(..) => 8,
            Self::MultipathdFreezes(..) => 9,
            Self::MultipathdBusy(..) => 10,
            Self::UdevBusy(..) => 11,
            Self::EventsLost => 12,
            Self::Unmapped(..) => 13,
            Self::Reused(..) => 14,
            Self::ForeignScan(..) => 15,
            Self::Signal(..) => 16,
            Self::Killed(..) => 17,
            Self::StaleDatabaseLock(..) => 18,
            Self::ForeignVolume(..) => 19,
        }]
    }
}

/// One fault of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// At the n-th call of that sort.
    AtCall(Call, u32, Strike),
    /// At a time.
    AtTime(Duration, Trouble),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtCall(call, number, strike) => write!(f, "{call:?} number {number}: {strike:?}"),
            Self::AtTime(time, trouble) => write!(f, "at {:.3} s: {trouble:?}", time.as_secs_f64()),
        }
    }
}

/// The faults at calls, and what was met.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    at_calls: BTreeMap<(Call, u32), Strike>,
    counts: BTreeMap<Call, u32>,
    marks: BTreeSet<Mark>,
    over: bool,
}

impl Faults {
    /// From a scenario.
    pub fn new(faults: &[Fault]) -> Self {
        let at_calls = faults.iter().filter_map(|fault| match fault {
            Fault::AtCall(call, number, strike) => Some(((*call, *number), *strike)),
            Fault::AtTime(..) => None,
        });
        Self { at_calls: at_calls.collect(), ..Self::default() }
    }

    /// Counts a call; what befalls it.
    pub fn strike(&mut self, call: Call) -> Option<Strike> {
        let count = self.counts.entry(call).or_default();
        *count += 1;
        let strike = *self.at_calls.get(&(call, *count)).filter(|_| !self.over)?;
        self.mark(match strike {
            Strike::Error => Mark::CallFails(call),
            Strike::Delay(_) => Mark::Slow(call),
            Strike::Hang => Mark::Hangs(call),
            Strike::Death => Mark::Dies(call),
        });
        Some(strike)
    }

    /// From here on nothing more goes wrong.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// Something was met.
    pub fn mark(&mut self, mark: Mark) {
        self.marks.insert(mark);
    }

    /// What was met.
    pub fn marks(&self) -> &BTreeSet<Mark> {
        &self.marks
    }
}
