//! From what a guest says to a line of the data: with what is known outside, shown to whoever watches, and on disk at once.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use lab_experiment::Outside;
use lab_wire::{Context, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guests::Lost;
use super::store::{self, Appending, Store};

/// A line of the data.
pub trait Line: Serialize + DeserializeOwned {
    /// What was wished for.
    type Wish: Clone + PartialEq + Serialize + DeserializeOwned;

    /// What was wished for.
    fn wish(&self) -> &Self::Wish;

    /// What the guest has left blank.
    fn outside(&mut self) -> &mut Outside;

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

    fn add(&self, mut line: L, abandoned: usize, how: &str) -> Result<(), Failure> {
        let (ended, commit, jobs) = (store::now(), self.commit.clone(), Some(self.jobs.get()));
        *line.outside() = Outside { ended, commit, jobs, abandoned };
        let (count, lines) = &mut *self.lines.lock().map_err(|_| poisoned())?;
        *count += 1;
        println!("[{count:4}/{}] {how}{}", self.total, line.told());
        lines.add(line)
    }

    /// No more is to come.
    pub fn done(self) -> Result<Store<L>, Failure> {
        Ok(self.lines.into_inner().map_err(|_| poisoned())?.1.done())
    }
}

fn poisoned() -> Failure {
    Failure::new("a guest's follower panicked")
}
