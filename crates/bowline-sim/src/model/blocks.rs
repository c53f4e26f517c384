//! Block devices: I/O that waits, page caches that hold what was written, and the helper's operations.
//!
//! Data is a set of write ids. A write is dirty in the cache of the block device it was made through, then on a volume, or
//! lost; so that losing one silently can be told from everything else.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bowline_host::host::Failure;

use super::World;
use super::disks::{self, DiskState};
use super::maps::Route;
use super::processes::Shown;
use crate::executor::Sim;

/// Linux errno.
pub const EIO: i32 = 5;
/// Linux errno.
pub const ENXIO: i32 = 6;
/// Linux errno.
pub const ENOENT: i32 = 2;
/// Linux errno.
pub const ESTALE: i32 = 116;
/// Linux errno.
pub const EINVAL: i32 = 22;

/// A block device, by a number that is never used again (the kernel's `diskseq`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockId {
    /// A SCSI disk.
    Disk(u64),
    /// A multipath map.
    Map(u64),
}

/// The page cache of a block device.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// Written, and not on its way yet.
    pub dirty: BTreeSet<u64>,
    /// On its way.
    pub writing: BTreeSet<u64>,
    /// A write was lost, and no fsync has told of it (`errseq_t`; findings: "A lost write is told once").
    pub error: bool,
}

/// A block device as everybody sees it.
#[derive(Debug, Clone)]
pub struct Block {
    /// Which.
    pub id: BlockId,
    /// `sda`, `dm-0`
    pub name: String,
    /// Major and minor.
    pub number: (u32, u32),
    /// In sectors of 512 bytes.
    pub sectors: u64,
}

impl World {
    /// The block devices there are.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        let disks = self.disks.values().filter_map(|disk| {
            let name = disk.name()?;
            let (id, number) = (BlockId::Disk(disk.id), disk.number()?);
            Some(Block { id, name, number, sectors: self.storage.volumes[disk.volume].sectors })
        });
        let maps = self.maps.values().map(|map| Block {
            id: BlockId::Map(map.id),
            name: format!("dm-{}", map.minor),
            number: (254, map.minor),
            sectors: map.sectors,
        });
        disks.chain(maps)
    }

    /// The block device of a kernel name.
    pub fn block(&self, name: &str) -> Option<Block> {
        self.blocks().find(|block| block.name == name)
    }

    /// A block device's cache, while it is there.
    pub fn cache(&mut self, block: BlockId) -> Option<&mut Cache> {
        match block {
            BlockId::Disk(id) => self.disks.get_mut(&id).map(|disk| &mut disk.cache),
            BlockId::Map(id) => self.maps.get_mut(&id).map(|map| &mut map.cache),
        }
    }

    /// Whether the target lets nobody write to a block device.
    pub fn is_read_only(&self, block: BlockId) -> bool {
        match block {
            BlockId::Disk(id) => {
                self.disks.get(&id).is_some_and(|disk| self.storage.volumes[disk.volume].read_only)
            }
            BlockId::Map(id) => self.maps.get(&id).is_some_and(|map| {
                self.storage.volumes.iter().any(|volume| volume.read_only && volume.wwid() == map.wwid)
            }),
        }
    }

    /// Whether a flush of a block device is sent to the target.
    pub fn has_write_cache(&self, block: BlockId) -> bool {
        match block {
            BlockId::Disk(id) => {
                self.disks.get(&id).is_none_or(|disk| self.storage.volumes[disk.volume].write_cache)
            }
            BlockId::Map(id) => self.maps.get(&id).is_none_or(|map| {
                self.storage.volumes.iter().any(|volume| volume.write_cache && volume.wwid() == map.wwid)
            }),
        }
    }

    /// Below /sys, without that prefix: of a disk below its session's SCSI host, of a map among the virtual ones.
    pub fn devpath(&self, block: BlockId) -> Option<String> {
        match block {
            BlockId::Disk(id) => {
                let disk = self.disks.get(&id)?;
                Some(format!("{}/block/{}", disk.devpath(), disk.name()?))
            }
            BlockId::Map(id) => Some(format!("/devices/virtual/block/dm-{}", self.maps.get(&id)?.minor)),
        }
    }
}

/// So many commands one after another; which volume answered.
pub async fn commands(sim: &Sim, block: BlockId, trips: u32) -> Result<usize, i32> {
    let map = match block {
        BlockId::Disk(disk) => return disks::command(sim, disk, trips).await,
        BlockId::Map(map) => map,
    };
    loop {
        match sim.with(|world| world.route(map)) {
            Route::Over(disk) => match disks::command(sim, disk, trips).await {
                Ok(volume) => return Ok(volume),
                Err(_) => super::maps::fail_path(sim, map, disk),
            },
            Route::Queues => {
                sim.until(|world| (world.route(map) != Route::Queues).then_some(())).await;
            }
            Route::None => return Err(EIO),
            Route::Gone => return Err(ENXIO),
        }
    }
}

/// Writes what is dirty. What cannot be written is lost, and the cache remembers that it has to tell.
pub async fn write_back(sim: &Sim, block: BlockId) {
    loop {
        let batch = sim
            .until(|world| match world.cache(block) {
                None => Some(BTreeSet::new()),
                Some(cache) if !cache.writing.is_empty() => None,
                Some(cache) => {
                    cache.writing = std::mem::take(&mut cache.dirty);
                    Some(cache.writing.clone())
                }
            })
            .await;
        if batch.is_empty() {
            return;
        }
        let result = commands(sim, block, 2).await;
        sim.with(|world| {
            if let Some(cache) = world.cache(block) {
                cache.writing.clear();
                cache.error |= result.is_err();
            }
            match result {
                Ok(volume) => world.storage.volumes[volume].written.extend(&batch),
                Err(errno) => world.note("kernel", format_args!("{batch:?} lost: errno {errno}")),
            }
            world.touch();
        });
    }
}

/// fsync: writes what is dirty, flushes the target's cache, tells of a lost write once.
pub async fn fsync(sim: &Sim, block: BlockId) -> Result<(), i32> {
    write_back(sim, block).await;
    let flushed = match sim.with(|world| world.has_write_cache(block)) {
        true => commands(sim, block, 1).await.map(drop),
        false => Ok(()),
    };
    let lost = sim.with(|world| world.cache(block).map(|cache| std::mem::take(&mut cache.error)));
    match (lost, flushed) {
        (Some(true), _) => Err(EIO),
        (_, Err(errno)) => Err(errno),
        _ => Ok(()),
    }
}

/// close: the last one writes what is dirty, tells nobody whether it could, and is shown by no descriptor meanwhile.
pub async fn close(sim: &Sim, pid: u32, block: BlockId) {
    let last = sim.with(|world| world.open_count(block) == 1);
    if last {
        sim.with(|world| {
            let opens = world.processes.get_mut(&pid).into_iter().flat_map(|process| &mut process.opens);
            opens.filter(|(open, _)| *open == block).for_each(|(_, shown)| *shown = Shown::Closing);
        });
        write_back(sim, block).await;
    }
    sim.with(|world| world.close(pid, block));
}

/// Opens a device as bowline's helper does: by name, and it must have the number that was meant. A disk that is not online cannot
/// be opened (Linux 6.1 `sd_open`).
fn open(world: &mut World, pid: u32, name: &str, number: (u32, u32)) -> Result<BlockId, i32> {
    let block = world.block(name).ok_or(ENOENT)?;
    if block.number != number {
        return Err(ESTALE);
    }
    if let BlockId::Disk(id) = block.id
        && world.disks[&id].state == DiskState::TransportOffline
    {
        return Err(ENXIO);
    }
    world.open(pid, block.id);
    Ok(block.id)
}

/// What the helper tells of an errno.
pub fn failure(errno: i32) -> Failure {
    io::Error::from_raw_os_error(errno).into()
}

/// What the helper is asked to do with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read its first block.
    Read,
    /// Flush it.
    Sync,
}

/// An operation of the helper's on a device, in a process of its own; it goes on when nobody waits for it any more.
pub async fn helper(sim: &Sim, operation: Operation, name: &str, number: (u32, u32)) -> Result<(), Failure> {
    let pid = sim.with(|world| world.start_process("bowline-helper", 1));
    let result = match sim.with(|world| open(world, pid, name, number)) {
        Err(errno) => Err(failure(errno)),
        Ok(block) => {
            let result = match operation {
                Operation::Read => commands(sim, block, 1).await.map(drop).map_err(failure),
                Operation::Sync => sync_with_note(sim, block).await,
            };
            close(sim, pid, block).await;
            result
        }
    };
    sim.with(|world| world.end_process(pid));
    result
}

/// How often a helper looks at the note of another's flush.
const POLL: Duration = Duration::from_millis(50);

/// A flush with its note: one that is under way is joined, one that failed untold is told (bowline-linux
/// `helper/flush.rs`). The note of a failure stays until somebody has got it ([`World::flush_told`]).
pub async fn sync_with_note(sim: &Sim, block: BlockId) -> Result<(), Failure> {
    loop {
        let note = sim.with(|world| match world.flushes.get(&block) {
            None => {
                world.flushes.insert(block, None);
                Some(Ok(()))
            }
            Some(Some(errno)) => Some(Err(*errno)),
            Some(None) => None,
        });
        match note {
            Some(Ok(())) => break,
            Some(Err(errno)) => {
                let error = io::Error::from_raw_os_error(errno);
                let words = format!("an earlier flush, given up before it ended, failed: {error}");
                return Err(Failure::LostWrite(words));
            }
            None => sim.sleep(POLL).await,
        }
    }
    let result = fsync(sim, block).await;
    sim.with(|world| {
        match result {
            Ok(()) => world.flushes.remove(&block),
            Err(errno) => world.flushes.insert(block, Some(errno)),
        };
    });
    result.map_err(|errno| Failure::LostWrite(io::Error::from_raw_os_error(errno).to_string()))
}

impl World {
    /// Whoever asked for the flush was told how it failed.
    pub fn flush_told(&mut self, name: &str) {
        if let Some(block) = self.block(name)
            && matches!(self.flushes.get(&block.id), Some(Some(_)))
        {
            self.flushes.remove(&block.id);
        }
    }
}
