//! From what a guest says to a line of the data: stamped, shown to whoever watches, and on disk at once.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};

use lab_wire::{Context, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guests::Lost;
use super::store::{self, Appending, Store};

/// What is known outside of the guest alone.
pub struct Stamp {
    /// Now, in seconds since 1970.
    pub ended: u64,
    /// What is checked out.
    pub commit: String,
    /// So many guests side by side.
    pub jobs: NonZeroUsize,
    /// How often it was begun in vain before, in a guest in which the experiment itself could not go on.
    pub abandoned: usize,
}

/// A line of the data.
pub trait Line: Serialize + DeserializeOwned {
    /// What was wished for.
    type Wish: Clone + PartialEq + Serialize + DeserializeOwned;

    /// What was wished for.
    fn wish(&self) -> &Self::Wish;

    /// The same with what is known outside.
    fn stamped(self, stamp: Stamp) -> Self;

    /// What is known of one that was lost with its guest.
    fn lost(lost: Lost<Self::Wish>) -> Self;

    /// As a person reads it while it goes on.
    fn told(&self) -> String;
}

/// Where lines go while guests are at work.
pub struct Recording<L> {
    total: usize,
    commit: String,
    jobs: NonZeroUsize,
    lines: Mutex<(usize, Appending<L>)>,
}

impl<L: Line> Recording<L> {
    /// Of so many that are to come, from so many guests side by side.
    pub fn new(total: usize, jobs: NonZeroUsize, to: Appending<L>) -> Self {
        Self { total, commit: store::commit(), jobs, lines: Mutex::new((0, to)) }
    }

    /// What a guest said, and how often it was begun in vain before; says which wish it was.
    pub fn take(&self, said: &[u8], abandoned: usize) -> Result<L::Wish, Failure> {
        let line: L = serde_json::from_slice(said)
            .context(|| format!("the guest said what is no record: {}", String::from_utf8_lossy(said)))?;
        let wish = line.wish().clone();
        self.add(line, abandoned, "")?;
        Ok(wish)
    }

    /// One whose guest was lost counts as well: who tried again until all is well would hide what a contender does to a host.
    pub fn lose(&self, lost: Lost<L::Wish>, abandoned: usize) -> Result<(), Failure> {
        self.add(L::lost(lost), abandoned, "LOST ")
    }

    fn add(&self, line: L, abandoned: usize, how: &str) -> Result<(), Failure> {
        let stamp = Stamp { ended: store::now(), commit: self.commit.clone(), jobs: self.jobs, abandoned };
        let line = line.stamped(stamp);
        let (count, lines) = &mut *self.locked()?;
        *count += 1;
        println!("[{count:4}/{}] {how}{}", self.total, line.told());
        lines.add(line)
    }

    fn locked(&self) -> Result<MutexGuard<'_, (usize, Appending<L>)>, Failure> {
        self.lines.lock().map_err(|_| poisoned())
    }

    /// No more is to come.
    pub fn done(self) -> Result<Store<L>, Failure> {
        Ok(self.lines.into_inner().map_err(|_| poisoned())?.1.done())
    }
}

fn poisoned() -> Failure {
    Failure::new("a guest's follower panicked")
}
