//! udev: its rules read a new disk and a changed map, hold them open meanwhile, and leave a record.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::blocks::{self, BlockId};
use super::{FindMultipaths, World, multipathd};
use crate::executor::Sim;

/// The daemon and its database.
#[derive(Debug, Clone, Default)]
pub struct Udev {
    /// Records by device number.
    pub records: BTreeMap<(u32, u32), Record>,
    /// Disks whose removal multipathd has still to hear of, in their order.
    pub gone: VecDeque<Gone>,
    /// It is as slow as that besides.
    pub busy: Duration,
}

/// A disk that is gone, whose event is on its way.
#[derive(Debug, Clone)]
pub struct Gone {
    /// When multipathd hears of it.
    pub at: Duration,
    /// Which disk it was.
    pub disk: u64,
    /// The name it had.
    pub name: String,
    /// The path it had below /sys.
    pub devpath: String,
}

/// What its rules have found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Which device it was.
    pub of: Option<BlockId>,
    /// `ID_SERIAL`
    pub serial: Option<String>,
    /// `DM_MULTIPATH_DEVICE_PATH`
    pub claimed: bool,
    /// `MPATH_DEVICE_READY`, for a map.
    pub ready: Option<bool>,
}

/// Whether a pass reads the device: blkid's thirty reads, unless the disk is multipath's or only a path has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// A worker that takes longer is killed (findings: "udev ends a worker after three minutes, and its links stay").
const WORKER_LIMIT: Duration = Duration::from_secs(180);
/// blkid's reads, one after another.
const READS: u32 = 30;

/// Sends on what was removed, when its time has come; runs beside everything.
pub async fn boot(sim: Sim) {
    loop {
        let gone = sim.until(|world| world.udev.gone.pop_front()).await;
        sim.sleep_until(gone.at).await;
        multipathd::forget_path(&sim, gone);
    }
}

/// A pass of its rules over a device; false when the device went meanwhile.
async fn pass(sim: &Sim, block: BlockId, reads: Reads) -> bool {
    let pid = sim.with(|world| world.start_process("(udev-worker)", 1));
    let pause = sim.with(|world| world.udev.busy + world.latency(4, 40));
    sim.sleep(pause).await;
    sim.with(|world| world.open(pid, block));
    if reads == Reads::Yes {
        let limit = sim.now() + WORKER_LIMIT;
        let reader = sim.clone();
        let read = sim.spawn(async move {
            let _ = blocks::commands(&reader, block, READS).await;
            reader.with(|world| {
                world.end_process(pid);
            });
        });
        if sim.until_by(limit, |world| (!world.processes.contains_key(&pid)).then_some(())).await.is_none() {
            sim.kill(read);
        }
    }
    sim.with(|world| {
        world.end_process(pid);
        world.devpath(block).is_some()
    })
}

/// The first event of a disk. Claimed for multipath by its identity on file, or by the mode, it is not read (findings: "A
/// path that is not claimed at its first event has udev's rules run twice").
pub async fn disk_added(sim: &Sim, id: u64) {
    let block = BlockId::Disk(id);
    let claimed = sim.with(|world| {
        let wwid = world.disks.get(&id).map(|disk| world.storage.volumes[disk.volume].wwid());
        wwid.is_some_and(|wwid| claims(world, &wwid))
    });
    let reads = if claimed { Reads::No } else { Reads::Yes };
    if !pass(sim, block, reads).await {
        return;
    }
    sim.with(|world| {
        let Some(disk) = world.disks.get(&id) else { return };
        let Some(number) = disk.number() else { return };
        let serial = Some(world.storage.volumes[disk.volume].wwid());
        let record = Record { of: Some(block), serial, claimed, ready: None };
        world.udev.records.insert(number, record);
        world.block_event(block);
        world.touch();
    });
    multipathd::path_event(sim, id).await;
    // What multipathd has mapped unasked is claimed after the event.
    sim.with(|world| {
        let Some(number) = world.disks.get(&id).and_then(|disk| disk.number()) else { return };
        if world.maps_upon(id).next().is_some()
            && let Some(record) = world.udev.records.get_mut(&number)
        {
            record.claimed = true;
        }
    });
}

fn claims(world: &World, wwid: &str) -> bool {
    let on_file = world.wwids.contains(wwid);
    !world.setup.blacklisted && (on_file || world.setup.find_multipaths == FindMultipaths::Greedy)
}

/// A map was made, loaded anew, or has lost or found a path: `change`, a pass, then the link and whether it can be used.
pub fn map_changed(sim: &Sim, id: u64, reads: Reads) {
    let block = BlockId::Map(id);
    let work = sim.clone();
    sim.spawn(async move {
        // A map without a path is not read (11-dm-mpath.rules: MPATH_DEVICE_READY=0).
        let works = |world: &mut World| {
            world.maps.get(&id).is_some_and(|map| map.paths.iter().any(|path| path.active))
        };
        let reads = if work.with(works) { reads } else { Reads::No };
        if !pass(&work, block, reads).await {
            return;
        }
        work.with(|world| {
            let ready = works(world);
            let Some(map) = world.maps.get_mut(&id) else { return };
            map.link = true;
            let number = (254, map.minor);
            let record = Record { of: Some(block), serial: None, claimed: false, ready: Some(ready) };
            world.udev.records.insert(number, record);
            world.block_event(block);
            world.touch();
        });
    });
}
