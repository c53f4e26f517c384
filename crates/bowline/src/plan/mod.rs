//! The rules. Pure functions: what was observed, what was tried and what time it is go in, the next steps come
//! out. No input or output, no clock, no randomness of their own.
//!
//! - [`attach`]: from connection properties to a map (or a single device);
//! - [`path`]: how far one path is, and what it needs next: the same for single path and multipath;
//! - [`detach`]: back again, and `ours`: what is ours to take away. A failed attach, a crash and a disconnect are all cleaned by these same rules.

pub mod attach;
pub mod detach;
mod ours;
pub mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bowline_host::iscsi::Endpoint;
use bowline_host::layers::Layer;
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Hctl, Lun, MapName, Moment, ScsiHost, Wwid};

use crate::claims::Claim;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::topology::{DeviceView, Topology};

/// One change of the host, or one proof. How each is done stands in `act`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Claim an endpoint for this attachment, and see to it that its node record is there and as we want it.
    PrepareRecord(Endpoint),
    /// Have iscsid log in. It cannot be cancelled: it ends by the login policy's bound.
    Login(Endpoint),
    /// Look for one LUN on one SCSI host (C12).
    Scan {
        /// The path's endpoint.
        endpoint: Endpoint,
        /// The SCSI host of its session (C13).
        scsi_host: ScsiHost,
        /// The LUN.
        lun: Lun,
    },
    /// Put the identity on multipath's wwids file, so that udev claims every path for multipath at its first event
    /// and multipathd makes the map by itself.
    ClaimWwid(Wwid),
    /// Hear from multipathd that it has made up its mind about a disk: it maps some without being asked
    /// (`find_multipaths no` or `greedy`), a moment after udev is done.
    HearMultipathd(BlockName),
    /// Tell multipathd of a path it should know by itself.
    AddPath(BlockName),
    /// Have multipathd forget a path that cannot be opened, until it can.
    SetAside(BlockName),
    /// Have multipathd make the map, also from one path (C3).
    AddMap(Wwid),
    /// Read the first block: the proof that a device can be used.
    VerifyRead {
        /// Map or disk.
        device: BlockName,
        /// Its number.
        number: DevNumber,
    },
    /// Write dirty pages and flush the target's cache (D7).
    Sync {
        /// Map or disk.
        device: BlockName,
        /// Its number.
        number: DevNumber,
    },
    /// Have a map that queues with no path give its I/O up. Only where the data is flushed, or given up too.
    StopQueueing(MapName),
    /// Have device-mapper fail a path of the map, so that whoever reads the map slowly is told of an error instead. Only
    /// where the data is flushed and nobody uses it.
    FailPath {
        /// The map that it is a path of.
        map: MapName,
        /// The disk.
        device: BlockName,
        /// Its number.
        number: DevNumber,
    },
    /// Remove a logical volume that lies upon the volume and that nobody has open. Only where the data is given up, or
    /// was never there.
    RemoveLayer(Layer),
    /// Have multipathd remove the map.
    RemoveMap {
        /// Its name: multipathd 0.9.4 does not take the WWID.
        name: MapName,
        /// Its identity.
        wwid: Wwid,
    },
    /// Delete a SCSI device.
    DeleteDevice {
        /// Its address.
        hctl: Hctl,
        /// Its disk's name, for people; `None` before sd has attached.
        block: Option<BlockName>,
    },
    /// See to it that multipathd's memory does not keep paths that are gone.
    ForgetPaths(Wwid),
    /// Take the identity off multipath's wwids file.
    ForgetWwid(Wwid),
    /// Give up this attachment's claim on an endpoint. The last one out logs out, and removes the record or
    /// puts its values back.
    Release(Endpoint),
}

impl Step {
    /// The deletion of a device as it was seen.
    fn delete(device: &DeviceView) -> Self {
        Self::DeleteDevice { hctl: device.device.hctl, block: device.block().map(|block| block.name.clone()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrepareRecord(endpoint) => write!(f, "prepare the node record of {endpoint}"),
            Self::Login(endpoint) => write!(f, "log in to {endpoint}"),
            Self::Scan { endpoint, lun, .. } => write!(f, "scan for LUN {lun} of {endpoint}"),
            Self::ClaimWwid(wwid) => write!(f, "put {wwid} on the wwids file"),
            Self::HearMultipathd(device) => write!(f, "hear what multipathd does with {device}"),
            Self::AddPath(device) => write!(f, "add path {device}"),
            Self::SetAside(device) => write!(f, "set path {device} aside"),
            Self::AddMap(wwid) => write!(f, "make the map of {wwid}"),
            Self::VerifyRead { device, .. } => write!(f, "read from {device}"),
            Self::Sync { device, .. } => write!(f, "flush {device}"),
            Self::StopQueueing(name) => write!(f, "stop queueing in map {name}"),
            Self::FailPath { device, .. } => write!(f, "fail path {device}"),
            Self::RemoveLayer(layer) => write!(f, "remove {layer}"),
            Self::RemoveMap { name, .. } => write!(f, "remove map {name}"),
            Self::DeleteDevice { hctl, block } => match block {
                Some(block) => write!(f, "delete device {block} ({hctl})"),
                None => write!(f, "delete device {hctl}"),
            },
            Self::ForgetPaths(wwid) => write!(f, "make multipathd forget the paths of {wwid}"),
            Self::ForgetWwid(wwid) => write!(f, "take {wwid} off the wwids file"),
            Self::Release(endpoint) => write!(f, "release {endpoint}"),
        }
    }
}

/// What the rules look at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The attachment that is worked on.
    pub id: &'a str,
    /// What was observed.
    pub topology: &'a Topology,
    /// Who made and who uses the endpoints.
    pub claims: &'a BTreeMap<Endpoint, Claim>,
    /// What was tried.
    pub ledger: &'a Ledger,
    /// When.
    pub now: Moment,
    /// Spreads retries of several processes.
    pub seed: u64,
}

impl View<'_> {
    /// Whether the attachment has a claim on the endpoint.
    pub(crate) fn claims_it(&self, endpoint: &Endpoint) -> bool {
        self.claims.get(endpoint).is_some_and(|claim| claim.users.contains(self.id))
    }

    /// When to look again for a session that another process's login may bring up, which no event tells of: later by an eighth of
    /// the time that it has been waited for.
    pub(crate) fn watch(&self, since: Moment) -> Moment {
        self.now + (self.now.since(since) / 8).clamp(Duration::from_millis(100), Duration::from_secs(2))
    }

    /// When to look again although an event should tell: one may be lost, and in a network namespace of its own a process hears
    /// none of udev's. The longer ago a step has ended the less often, since who looks takes the processors from those it waits for.
    pub(crate) fn next_look(&self) -> Moment {
        let quiet = self.ledger.last_end().map_or(Duration::ZERO, |end| self.now.since(end));
        self.now + (quiet / 2).clamp(Duration::from_millis(500), Duration::from_secs(5))
    }
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Do these (those that are running already are not named again), and look again when one ends, when
    /// something happens, or at `wake`.
    Act {
        /// What to begin now.
        steps: Vec<Step>,
        /// When to look again at the latest.
        wake: Option<Moment>,
        /// What is being waited for, in words for the error that a deadline makes.
        waiting: Vec<String>,
    },
    /// The goal is reached.
    Done,
    /// The goal cannot be reached; why.
    Refused(Error),
}

/// Collects what a plan wants done.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    steps: Vec<Step>,
    wake: Option<Moment>,
    waiting: Vec<String>,
}

impl Draft {
    /// Wants a step, unless it is running. Between tries it waits, longer each time (also after one that says `ok`
    /// and had no effect), and after `tries` failures it gives up: then the answer is false.
    pub(crate) fn want(&mut self, view: &View<'_>, step: Step, tries: u32, base: Duration) -> bool {
        if view.ledger.running(&step) {
            self.waiting.push(step.to_string());
            return true;
        }
        let failures = view.ledger.failures(&step);
        let Some((when, ending)) = view.ledger.last(&step) else {
            self.steps.push(step);
            return true;
        };
        if matches!(ending, crate::ledger::Ending::Final(_)) || failures >= tries {
            return false;
        }
        let tried = view.ledger.tries(&step).count() as u32;
        let next = when + backoff(tried, base, view.seed);
        match view.now >= next {
            true => self.steps.push(step),
            false => self.wait(step.to_string(), Some(next)),
        }
        true
    }

    /// Waits for something that is not a step of ours, looking again at `wake` where no event will tell.
    pub(crate) fn wait(&mut self, what: impl Into<String>, wake: Option<Moment>) {
        self.waiting.push(what.into());
        if let Some(wake) = wake {
            self.look_again(wake);
        }
    }

    /// Looks again then at the latest.
    pub(crate) fn look_again(&mut self, wake: Moment) {
        self.wake = Some(self.wake.map_or(wake, |before| before.min(wake)));
    }

    /// Whether nothing is wanted and nothing is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty()
    }

    /// In words, what is not over when the time is.
    pub(crate) fn unfinished(self) -> Vec<String> {
        self.waiting.into_iter().chain(self.steps.iter().map(Step::to_string)).collect()
    }

    /// As a decision.
    pub(crate) fn act(self) -> Decision {
        Decision::Act { steps: self.steps, wake: self.wake, waiting: self.waiting }
    }
}

/// Exponential, at most 5 s, with up to a quarter of jitter drawn from the seed.
pub fn backoff(failures: u32, base: Duration, seed: u64) -> Duration {
    let plain = base.saturating_mul(1 << failures.min(10)).min(Duration::from_secs(5));
    let mixed = (seed ^ u64::from(failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    plain + plain.mul_f64(0.25 * mixed as f64 / 65536.0)
}
