//! SCSI disks below a session: found by a scan, used, deleted.

use std::time::Duration;

use super::blocks::{self, BlockId, Cache, EIO, ENXIO};
use super::{SessionState, World, multipathd, udev};
use crate::executor::Sim;

/// State of a SCSI device, apart from being held back by its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskState {
    /// Usable.
    Running,
    /// Its session did not come back in time.
    TransportOffline,
    /// On its way out.
    Going,
}

/// A SCSI device.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Never used again.
    pub id: u64,
    /// Its session.
    pub sid: u32,
    /// Its SCSI host.
    pub host: u32,
    /// Its LUN.
    pub lun: u64,
    /// What was behind the LUN when it was scanned: the kernel remembers that identity (requirements: B3).
    pub volume: usize,
    /// Its state.
    pub state: DiskState,
    /// Somebody is about to delete it: what is opened now goes with it.
    pub doomed: bool,
    /// Which disk it is, once sd has attached: sda is 0.
    pub index: Option<u32>,
    /// Its page cache.
    pub cache: Cache,
    /// Others use it.
    pub foreign: bool,
}

impl Disk {
    /// `sda`, …
    pub fn name(&self) -> Option<String> {
        let letter = |n: u32| char::from(b'a' + (n % 26) as u8);
        let index = self.index?;
        Some(match index / 26 {
            0 => format!("sd{}", letter(index)),
            more => format!("sd{}{}", letter(more - 1), letter(index)),
        })
    }

    /// Of its SCSI device, below /sys without that prefix.
    pub fn devpath(&self) -> String {
        let Self { host, sid, lun, .. } = self;
        format!("/devices/platform/host{host}/session{sid}/target{host}:0:0/{host}:0:0:{lun}")
    }

    /// Its number.
    pub fn number(&self) -> Option<(u32, u32)> {
        self.index.map(number_of)
    }
}

/// Sixteen minors a disk; majors 8, then 65 and on (Linux Documentation/admin-guide/devices.txt).
fn number_of(index: u32) -> (u32, u32) {
    (if index < 16 { 8 } else { 64 + index / 16 }, index % 16 * 16)
}

/// An answer that never comes is given up with error handling after about three minutes (30 s and five retries).
const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// A scan's INQUIRY: 20 s, retried (interfaces: "What can block").
const INQUIRY_LIMIT: Duration = Duration::from_secs(60);
/// What sd asks of a disk before it is one (findings: "Under delay and loss …": twenty commands).
const COMMANDS_OF_A_DISK: u32 = 20;

/// How a command fares at the moment.
enum Fate {
    Ends(Result<usize, i32>),
    Takes(Duration, u64),
    Held,
}

impl World {
    fn fate(&mut self, disk: u64, trips: u32) -> Fate {
        let Some(found) = self.disks.get(&disk) else { return Fate::Ends(Err(ENXIO)) };
        if found.state == DiskState::TransportOffline {
            return Fate::Ends(Err(EIO));
        }
        let Some(session) = self.sessions.get(&found.sid) else { return Fate::Ends(Err(EIO)) };
        // Also to a disk on its way out (Linux 6.1 `iscsi_session_chkready`).
        if session.offline {
            return Fate::Ends(Err(EIO));
        }
        if session.state != SessionState::LoggedIn || !self.links[session.portal].answers() {
            return Fate::Held;
        }
        let (portal, connections) = (session.portal, session.connections);
        Fate::Takes(self.trips(portal, trips), connections)
    }

    fn held(&self, disk: u64) -> bool {
        self.disks.get(&disk).is_some_and(|disk| {
            disk.state != DiskState::TransportOffline
                && self.sessions.get(&disk.sid).is_some_and(|session| {
                    !session.offline
                        && (session.state != SessionState::LoggedIn || !self.links[session.portal].answers())
                })
        })
    }

    /// What the target says when the command has reached it over a connection that still stands.
    fn answered(&self, disk: u64, connections: u64) -> Option<Result<usize, i32>> {
        let found = self.disks.get(&disk)?;
        let session = self.sessions.get(&found.sid)?;
        let stands = session.connections == connections && self.links[session.portal].answers();
        // An unmapped LUN is refused (LOGICAL UNIT NOT SUPPORTED).
        stands.then(|| self.storage.exported(&session.iqn, found.lun).ok_or(EIO))
    }

    /// The lowest free one (sd's ida). That of a disk that is gone is not free while a map holds it (Linux 6.1 `sd.c`
    /// `scsi_disk_release`).
    fn free_disk(&self) -> u32 {
        let held = |index: u32| {
            let mut paths = self.maps.values().flat_map(|map| &map.paths);
            paths.any(|path| path.number == number_of(index))
        };
        let used = |index: u32| self.disks.values().any(|disk| disk.index == Some(index));
        (0..).find(|index| !used(*index) && !held(*index)).unwrap_or(0)
    }

    /// One scan or deletion at a time below a session's host (Linux 6.1 `scsi_scan_host_selected` and `scsi_remove_device`,
    /// `scan_mutex`): `None` while another goes on, else whether there is still a session.
    fn take_scan_mutex(&mut self, sid: u32) -> Option<bool> {
        let Some(session) = self.sessions.get_mut(&sid) else { return Some(false) };
        (!std::mem::replace(&mut session.scan_mutex, true)).then_some(true)
    }

    fn release_scan_mutex(&mut self, sid: u32) {
        if let Some(session) = self.sessions.get_mut(&sid) {
            session.scan_mutex = false;
        }
        self.touch();
    }

    /// The disk of a session's LUN.
    pub fn disk_at(&self, host: u32, lun: u64) -> Option<&Disk> {
        self.disks.values().find(|disk| disk.host == host && disk.lun == lun)
    }

    /// Takes a disk off the host. What its cache still held is lost.
    pub fn remove_disk(&mut self, id: u64) {
        let block = BlockId::Disk(id);
        let Some(devpath) = self.devpath(block) else {
            self.disks.remove(&id);
            return self.touch();
        };
        let Some(disk) = self.disks.remove(&id) else { return };
        let name = disk.name().unwrap_or_default();
        self.note("kernel", format_args!("{name} ({}:0:0:{}) is gone", disk.host, disk.lun));
        if !disk.cache.dirty.is_empty() {
            self.note("kernel", format_args!("{:?} lost with {name}", disk.cache.dirty));
        }
        if let Some(number) = disk.number() {
            self.udev.records.remove(&number);
        }
        multipathd::path_gone(self, id, name, devpath);
        self.touch();
    }
}

/// So many commands to a disk, one after another.
pub async fn command(sim: &Sim, disk: u64, trips: u32) -> Result<usize, i32> {
    let limit = sim.now() + COMMAND_LIMIT;
    loop {
        match sim.with(|world| world.fate(disk, trips)) {
            Fate::Ends(result) => return result,
            Fate::Takes(time, connections) => {
                sim.sleep(time).await;
                if let Some(answer) = sim.with(|world| world.answered(disk, connections)) {
                    return answer;
                }
            }
            Fate::Held => {
                let waited = sim.until_by(limit, |world| (!world.held(disk)).then_some(())).await;
                if waited.is_none() {
                    return Err(EIO);
                }
            }
        }
    }
}

/// A write to a SCSI host's `scan`: one LUN. A known LUN sends nothing (interfaces: "Scan"). The write returns when the
/// device is there; its disk comes a moment later.
pub async fn begin_scan(sim: &Sim, host: u32, lun: u64) -> Result<(), i32> {
    let found = sim.with(|world| {
        let session = world.sessions.values().find(|session| session.host == host)?;
        Some(session.sid)
    });
    let Some(sid) = found else { return Err(blocks::ENOENT) };
    if !sim.until(|world| world.take_scan_mutex(sid)).await {
        return Ok(());
    }
    let known = sim.with(|world| world.disk_at(host, lun).is_some());
    if !known && inquiry(sim, sid).await {
        add(sim, sid, host, lun);
    }
    sim.with(|world| world.release_scan_mutex(sid));
    Ok(())
}

/// Whether a session's target answers an INQUIRY; one below a session without connection waits (findings: "A scan below a
/// session that lost its connection waits for two minutes").
async fn inquiry(sim: &Sim, sid: u32) -> bool {
    let limit = sim.now() + INQUIRY_LIMIT * 2;
    loop {
        let ready = sim
            .until_by(limit, |world| match world.sessions.get(&sid) {
                None => Some(None),
                Some(session) if session.offline => Some(None),
                Some(session) if session.state == SessionState::LoggedIn => {
                    let (portal, connections) = (session.portal, session.connections);
                    let time = world.trips(portal, 3);
                    world.links[portal].answers().then_some(Some((portal, connections, time)))
                }
                Some(_) => None,
            })
            .await;
        let Some(Some((portal, connections, time))) = ready else { return false };
        sim.sleep(time).await;
        let same = |world: &mut World| {
            world.sessions.get(&sid).is_some_and(|session| session.connections == connections)
                && world.links[portal].answers()
        };
        if sim.with(same) {
            return true;
        }
    }
}

/// Puts a device below a session, if the target exports the LUN and it is not there yet.
pub fn add(sim: &Sim, sid: u32, host: u32, lun: u64) {
    let added = sim.with(|world| {
        let session = world.sessions.get(&sid)?;
        let volume = world.storage.exported(&session.iqn, lun)?;
        let foreign = session.foreign_luns.contains(&lun);
        if world.disk_at(host, lun).is_some() {
            return None;
        }
        let id = world.serial();
        let disk = Disk {
            id,
            sid,
            host,
            lun,
            volume,
            state: DiskState::Running,
            doomed: false,
            index: None,
            cache: Cache::default(),
            foreign,
        };
        world.disks.insert(id, disk);
        world.note("kernel", format_args!("{host}:0:0:{lun} below session {sid} is volume {volume}"));
        world.touch();
        Some(id)
    });
    let Some(id) = added else { return };
    let attach = sim.clone();
    sim.spawn(async move {
        if command(&attach, id, COMMANDS_OF_A_DISK).await.is_err() {
            return;
        }
        let shown = attach.with(|world| {
            let index = world.free_disk();
            let disk = world.disks.get_mut(&id)?;
            disk.index = Some(index);
            let name = disk.name().unwrap_or_default();
            world.note("kernel", format_args!("{host}:0:0:{lun} is {name}"));
            world.touch();
            Some(())
        });
        if shown.is_some() {
            udev::disk_added(&attach, id).await;
        }
    });
}

/// A write to a device's `delete`: the SCSI device goes, then dirty pages are written and the cache is flushed where it is
/// online (interfaces: "What can block"), then the disk is gone. Nothing else is scanned for or deleted below its host
/// meanwhile.
pub async fn begin_delete(sim: &Sim, id: u64) -> Result<(), i32> {
    let begun = |world: &mut World| {
        let Some(disk) = world.disks.get(&id).filter(|disk| disk.state != DiskState::Going) else {
            return Some(None);
        };
        let sid = disk.sid;
        world.take_scan_mutex(sid)?;
        let disk = world.disks.get_mut(&id)?;
        let online = disk.state == DiskState::Running;
        disk.state = DiskState::Going;
        world.touch();
        Some(Some((sid, online)))
    };
    let Some((sid, online)) = sim.until(begun).await else {
        sim.until(|world| (!world.disks.contains_key(&id)).then_some(())).await;
        return Ok(());
    };
    if online {
        blocks::write_back(sim, BlockId::Disk(id)).await;
        // Linux 6.1 `sd_shutdown`.
        if sim.with(|world| world.has_write_cache(BlockId::Disk(id))) {
            let _ = command(sim, id, 1).await;
        }
    }
    let leave = sim.with(|world| world.latency(0, 3));
    sim.sleep(leave).await;
    sim.with(|world| {
        world.remove_disk(id);
        world.release_scan_mutex(sid);
    });
    Ok(())
}
