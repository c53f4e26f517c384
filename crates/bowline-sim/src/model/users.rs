//! Whoever was given a device: writes, keeps it open, closes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::World;
use super::blocks::{self, BlockId};
use super::disks::{Disk, DiskState};
use crate::executor::Sim;

/// A use of a device.
#[derive(Debug, Clone)]
pub struct Use {
    /// The process.
    pub pid: u32,
    /// The device.
    pub block: BlockId,
    /// What was written.
    pub writes: BTreeSet<u64>,
    /// The disk, if it was opened when its deletion had been decided and the kernel did not know of it yet.
    pub late: Option<u64>,
}

impl World {
    /// Whether its process has the device open, and is not closing it.
    pub fn is_open(&self, used: &Use) -> bool {
        self.processes.get(&used.pid).is_some_and(|process| process.shows(used.block))
    }
}

/// Opens a device node and writes; the kernel begins to write back by itself after a while (`dirty_expire_centisecs`).
pub fn begin_use(sim: &Sim, node: &str, writes: u64) -> Option<Use> {
    let begun = sim.with(|world| {
        let name = node.rsplit('/').next().unwrap_or_default();
        let mapped = world.maps.values().find(|map| map.link && map.name == name);
        let block = mapped.map(|map| BlockId::Map(map.id)).or_else(|| world.block(name).map(|b| b.id))?;
        // A disk that is being deleted cannot be opened any more (Linux 6.1 `sd_open`, `scsi_device_get`: ENXIO).
        let going = |disk: &Disk| disk.state == DiskState::Going;
        if matches!(block, BlockId::Disk(disk) if world.disks.get(&disk).is_some_and(going)) {
            return None;
        }
        let pid = world.start_process("user", 1);
        world.open(pid, block);
        let writes: BTreeSet<u64> = (0..writes).map(|_| world.serial()).collect();
        world.cache(block)?.dirty.extend(&writes);
        world.note("user", format_args!("{pid} writes {writes:?} to {node}"));
        let late = match block {
            BlockId::Disk(disk) => world.disks.get(&disk).filter(|disk| disk.doomed).map(|disk| disk.id),
            BlockId::Map(_) => None,
        };
        Some(Use { pid, block, writes, late })
    })?;
    let (work, block) = (sim.clone(), begun.block);
    sim.spawn(async move {
        let pause = work.with(|world| world.random.millis(5_000, 35_000));
        work.sleep(pause).await;
        blocks::write_back(&work, block).await;
    });
    Some(begun)
}

/// Closes it; comes back once it is closed, or after a while.
pub async fn end_use(sim: &Sim, ends: &Use, patience: Duration) {
    let (work, ends) = (sim.clone(), ends.clone());
    let pid = ends.pid;
    sim.spawn(async move {
        work.with(|world| world.note("user", format_args!("{pid} closes")));
        blocks::close(&work, ends.pid, ends.block).await;
        work.with(|world| world.end_process(pid));
    });
    let by = sim.now() + patience;
    sim.until_by(by, |world: &mut World| (!world.processes.contains_key(&pid)).then_some(())).await;
}
