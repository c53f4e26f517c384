//! The ledger: what was tried, when, and how it ended. The planner reads it, so that failures are not repeated
//! blindly; the loop writes it.

use std::time::Duration;

use bowline_host::names::BlockName;
use bowline_host::{Moment, ScsiHost};

use crate::plan::Step;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// As it should, so it says: the next observation is the truth.
    Ok,
    /// Not; it may work another time.
    Failed(String),
    /// Not, and it never will.
    Final(String),
    /// Not: this host lacks what it takes (iscsid does not run, a program is missing).
    Host(String),
    /// It did not end within its limit.
    TimedOut(Duration),
    /// Not done: something is in the way that was seen only under the lock.
    Skipped(String),
}

impl Ending {
    /// Whether it says that it was done.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// Why not, in a sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Ok => "ok".into(),
            Self::Failed(why) | Self::Final(why) | Self::Host(why) | Self::Skipped(why) => why.clone(),
            Self::TimedOut(limit) => format!("no end within {:.1} s", limit.as_secs_f32()),
        }
    }
}

/// One try of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The step.
    pub step: Step,
    /// When it began.
    pub began: Moment,
    /// When and how it ended; `None` while it runs.
    pub ended: Option<(Moment, Ending)>,
}

impl Entry {
    /// Whether it ended, and says that it was done.
    pub fn is_ok(&self) -> bool {
        matches!(&self.ended, Some((_, Ending::Ok)))
    }
}

/// Every try so far, in order of their beginnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Notes that a step begins.
    pub fn begin(&mut self, step: Step, now: Moment) {
        self.entries.push(Entry { step, began: now, ended: None });
    }

    /// Notes how a running step ended.
    pub fn end(&mut self, step: &Step, now: Moment, ending: Ending) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|e| e.ended.is_none() && e.step == *step) {
            entry.ended = Some((now, ending));
        }
    }

    /// The tries of a step, in order.
    pub fn tries<'a>(&'a self, step: &'a Step) -> impl DoubleEndedIterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.step == *step)
    }

    /// Every try.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// When a step last ended.
    pub(crate) fn last_end(&self) -> Option<Moment> {
        self.entries.iter().filter_map(|entry| entry.ended.as_ref().map(|(when, _)| *when)).max()
    }

    /// Whether a step of the same kind is running.
    pub(crate) fn runs_alike(&self, step: &Step) -> bool {
        let kind = std::mem::discriminant(step);
        self.entries.iter().any(|entry| entry.ended.is_none() && std::mem::discriminant(&entry.step) == kind)
    }

    /// Whether a step is running.
    pub fn running(&self, step: &Step) -> bool {
        self.tries(step).any(|entry| entry.ended.is_none())
    }

    /// How the last try that ended, ended, and when.
    pub fn last(&self, step: &Step) -> Option<(Moment, &Ending)> {
        let ended = self.entries.iter().rev().filter(|entry| entry.step == *step);
        ended.filter_map(|entry| entry.ended.as_ref()).map(|(when, ending)| (*when, ending)).next()
    }

    /// Whether a try ended well.
    pub fn succeeded(&self, step: &Step) -> bool {
        self.tries(step).any(Entry::is_ok)
    }

    /// Whether it was tried to take a device off that SCSI host.
    pub(crate) fn deleted_on(&self, scsi_host: ScsiHost) -> bool {
        let on_host =
            |entry: &Entry| matches!(&entry.step, Step::DeleteDevice { hctl, .. } if hctl.host == scsi_host);
        self.entries.iter().any(on_host)
    }

    /// Whether this process knows that no scan of its own goes on on that SCSI host: it has scanned there, and was told each
    /// time how that ended.
    pub(crate) fn scans_ended(&self, host: ScsiHost) -> bool {
        let on_host =
            |entry: &&Entry| matches!(&entry.step, Step::Scan { scsi_host, .. } if *scsi_host == host);
        let mut scans = self.entries.iter().filter(on_host).peekable();
        scans.peek().is_some() && scans.all(told)
    }

    /// Whether an earlier try may still be under way: nobody was told of its end.
    pub(crate) fn lingers(&self, step: &Step) -> bool {
        self.tries(step).any(|entry| !told(entry))
    }

    /// How many tries ended other than well.
    pub fn failures(&self, step: &Step) -> u32 {
        let failed = |entry: &&Entry| matches!(&entry.ended, Some((_, ending)) if !ending.is_ok());
        self.tries(step).filter(failed).count() as u32
    }

    /// The flushes that have told of a lost write: the device, the step, and what it was told.
    pub fn lost_writes(&self) -> impl Iterator<Item = (&BlockName, &Step, &Ending)> {
        self.entries.iter().filter_map(|entry| match (&entry.step, &entry.ended) {
            (step @ Step::Sync { device, .. }, Some((_, ending @ Ending::Final(_)))) => {
                Some((device, step, ending))
            }
            _ => None,
        })
    }
}

/// Whether it ended, and we were told so.
fn told(entry: &Entry) -> bool {
    matches!(&entry.ended, Some((_, ending)) if !matches!(ending, Ending::TimedOut(_)))
}
