//! Processes as /proc shows them, who has which device open, and bowline's locks.

use std::collections::{BTreeMap, BTreeSet};

use super::{BlockId, World};

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    /// `comm`
    pub command: String,
    /// `cmdline`, after the program's own name
    pub args: Vec<String>,
    /// Files it has open beside block devices.
    pub files: Vec<String>,
    /// Its parent.
    pub parent: u32,
    /// What it has open, and whether its table of descriptors still shows it: a last close that hangs does not (design:
    /// D7).
    pub opens: Vec<(BlockId, Shown)>,
}

impl Process {
    /// Whether it has a device open, and is not closing it.
    pub fn shows(&self, block: BlockId) -> bool {
        self.opens.contains(&(block, Shown::Yes))
    }
}

/// Whether /proc/PID/fd shows an open device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Yes.
    Yes,
    /// It is being closed.
    Closing,
}

/// bowline's locks: flock, so each is free once the last descriptor is closed, that of an heir as well
/// (`Program::keeps_locks`).
#[derive(Debug, Clone, Default)]
pub struct Locks {
    /// Who holds each: tokens, with the process that took it first.
    pub held: BTreeMap<String, BTreeMap<u64, u32>>,
}

impl Locks {
    /// Gives a token's share up everywhere.
    pub fn release(&mut self, token: u64) {
        for holders in self.held.values_mut() {
            holders.remove(&token);
        }
        self.held.retain(|_, holders| !holders.is_empty());
    }

    /// The heir gets a share of every lock that the process holds.
    pub fn inherit(&mut self, from: u32, heir: u64) {
        for holders in self.held.values_mut() {
            if holders.values().any(|pid| *pid == from) {
                holders.insert(heir, 0);
            }
        }
    }
}

impl World {
    /// Starts a process.
    pub fn start_process(&mut self, command: &str, parent: u32) -> u32 {
        let pid = self.pid();
        let (args, files, opens) = (Vec::new(), Vec::new(), Vec::new());
        self.processes.insert(pid, Process { command: command.into(), args, files, parent, opens });
        pid
    }

    /// Ends a process; what it had open is closed.
    pub fn end_process(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.touch();
    }

    /// Opens a block device.
    pub fn open(&mut self, pid: u32, block: BlockId) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.opens.push((block, Shown::Yes));
        }
        self.touch();
    }

    /// Closes it.
    pub fn close(&mut self, pid: u32, block: BlockId) {
        if let Some(process) = self.processes.get_mut(&pid)
            && let Some(at) = process.opens.iter().position(|(open, _)| *open == block)
        {
            process.opens.remove(at);
        }
        self.touch();
    }

    /// How often a block device is open. One with dirty pages is: whoever closed it last is still writing them.
    pub fn open_count(&self, block: BlockId) -> u32 {
        let opens = self.processes.values().flat_map(|process| &process.opens);
        let cache = match block {
            BlockId::Disk(id) => self.disks.get(&id).map(|disk| &disk.cache),
            BlockId::Map(id) => self.maps.get(&id).map(|map| &map.cache),
        };
        let dirty = cache.is_some_and(|cache| !cache.dirty.is_empty() || !cache.writing.is_empty());
        (opens.filter(|(open, _)| *open == block).count() as u32).max(u32::from(dirty))
    }

    /// Which locks are held.
    pub fn locks_held(&self) -> BTreeSet<String> {
        self.locks.held.keys().cloned().collect()
    }
}
