//! device-mapper's multipath maps.

use bowline_host::host::DmDevice;
use bowline_host::names::DevNumber;

use super::blocks::{BlockId, Cache};
use super::disks::{Disk, DiskState};
use super::{NoPathRetry, World, multipathd, udev};
use crate::executor::Sim;

/// A path of a map's table. It may refer to a disk that is gone, until multipathd has reloaded the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapPath {
    /// Its disk.
    pub disk: u64,
    /// Its number.
    pub number: (u32, u32),
    /// Whether the kernel sends I/O over it.
    pub active: bool,
}

/// A map.
#[derive(Debug, Clone)]
pub struct Map {
    /// Never used again.
    pub id: u64,
    /// Of dm-N.
    pub minor: u32,
    /// Its name.
    pub name: String,
    /// The identity in its UUID.
    pub wwid: String,
    /// In sectors of 512 bytes.
    pub sectors: u64,
    /// It has a table: not yet in the moment after it was made.
    pub live: bool,
    /// Its table.
    pub paths: Vec<MapPath>,
    /// Whether it queues when no path works.
    pub queueing: bool,
    /// Its page cache.
    pub cache: Cache,
    /// `/dev/mapper/NAME` leads here.
    pub link: bool,
    /// Others use it.
    pub foreign: bool,
}

/// Where a map's I/O goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Over this disk.
    Over(u64),
    /// It waits for a path.
    Queues,
    /// There is none.
    None,
    /// There is no map.
    Gone,
}

impl World {
    /// Where a map's I/O goes.
    pub fn route(&self, map: u64) -> Route {
        let Some(map) = self.maps.get(&map) else { return Route::Gone };
        match (map.paths.iter().find(|path| path.active), map.queueing) {
            (Some(path), _) => Route::Over(path.disk),
            (None, true) => Route::Queues,
            (None, false) => Route::None,
        }
    }

    /// The map of an identity.
    pub fn map_of(&self, wwid: &str) -> Option<&Map> {
        self.maps.values().find(|map| map.wwid == wwid)
    }

    /// The map of a name.
    pub fn map_named(&self, name: &str) -> Option<&Map> {
        self.maps.values().find(|map| map.name == name)
    }

    /// The maps whose tables refer to a disk.
    pub fn maps_upon(&self, disk: u64) -> impl Iterator<Item = &Map> {
        self.maps.values().filter(move |map| map.paths.iter().any(|path| path.disk == disk))
    }

    /// Whether a disk's state lets a path over it be used.
    pub fn path_works(&self, disk: u64) -> bool {
        let Some(disk) = self.disks.get(&disk) else { return false };
        let Some(session) = self.sessions.get(&disk.sid) else { return false };
        disk.state == DiskState::Running
            && session.state == super::SessionState::LoggedIn
            && self.links[session.portal].answers()
            && self.storage.exported(&session.iqn, disk.lun).is_some()
    }

    /// What the kernel says of a map (DM_DEV_STATUS, DM_TABLE_DEPS, DM_TABLE_STATUS): lines in the form of Linux 6.1
    /// `multipath_status`, one group, service-time.
    pub fn dm_device(&self, map: &Map) -> DmDevice {
        let features = if map.queueing { "1 queue_if_no_path" } else { "0" };
        let count = map.paths.len();
        let number = |path: &MapPath| format!("{}:{}", path.number.0, path.number.1);
        let table: String = map.paths.iter().map(|path| format!(" {} 1", number(path))).collect();
        let word = |path: &MapPath| if path.active { "A" } else { "F" };
        let status: String =
            map.paths.iter().map(|path| format!(" {} {} 0 0 1", number(path), word(path))).collect();
        let sectors = map.sectors;
        let groups = if count == 0 { "0 0".to_owned() } else { "1 1".to_owned() };
        let (table, status) = match count {
            0 => (String::new(), String::new()),
            _ => (format!(" service-time 0 {count} 1{table}"), format!(" A 0 {count} 2{status}")),
        };
        DmDevice {
            name: map.name.clone(),
            uuid: format!("mpath-{}", map.wwid),
            number: DevNumber { major: 254, minor: map.minor },
            open_count: self.open_count(BlockId::Map(map.id)),
            suspended: false,
            live_table: map.live,
            deps: map.paths.iter().map(|p| DevNumber { major: p.number.0, minor: p.number.1 }).collect(),
            table: map
                .live
                .then(|| format!("0 {sectors} multipath {features} 0 {groups}{table}"))
                .into_iter()
                .collect(),
            status: map
                .live
                .then(|| format!("0 {sectors} multipath 2 0 0 0 {groups}{status}"))
                .into_iter()
                .collect(),
        }
    }

    /// A map that was made gets its first table, unless it is gone or has one. Where a disk of it has gone meanwhile, it goes again (libdm
    /// 1.02 `_create_and_load_v4`, `revert`).
    pub fn load_table(&mut self, id: u64, paths: Vec<MapPath>) -> bool {
        let Some(map) = self.maps.get_mut(&id).filter(|map| !map.live) else { return false };
        let runs = |disk: &Disk| disk.state == DiskState::Running;
        let opens = |path: &MapPath| self.disks.get(&path.disk).is_some_and(runs);
        if !paths.iter().all(opens) {
            self.remove_map(id);
            return false;
        }
        map.paths = paths;
        map.live = true;
        self.touch();
        true
    }

    /// Takes a map away. It has no opener, so its cache was written or given up by its last close.
    pub fn remove_map(&mut self, id: u64) {
        self.block_event(BlockId::Map(id));
        if let Some(map) = self.maps.remove(&id) {
            self.note("kernel", format_args!("map {} (dm-{}) is gone", map.name, map.minor));
            self.udev.records.remove(&(254, map.minor));
            if !map.cache.dirty.is_empty() {
                self.note("kernel", format_args!("{:?} lost with {}", map.cache.dirty, map.name));
            }
        }
        self.touch();
    }

    /// Marks a path of a map.
    pub fn set_path(&mut self, map: u64, disk: u64, active: bool) -> bool {
        let Some(found) = self.maps.get_mut(&map) else { return false };
        let name = found.name.clone();
        let Some(path) = found.paths.iter_mut().find(|path| path.disk == disk && path.active != active)
        else {
            return false;
        };
        path.active = active;
        let (major, minor) = path.number;
        let word = if active { "works" } else { "failed" };
        self.note("kernel", format_args!("path {major}:{minor} of {name} {word}"));
        self.touch();
        true
    }
}

/// I/O over a path has failed. Without any path multipathd has queueing stopped after its tries (`no_path_retry`), each as
/// long as its checker's interval.
pub fn fail_path(sim: &Sim, map: u64, disk: u64) {
    if !sim.with(|world| world.set_path(map, disk, false)) {
        return;
    }
    udev::map_changed(sim, map, udev::Reads::No);
    let tries = sim.with(|world| match (world.route(map), world.setup.no_path_retry) {
        (Route::Queues, NoPathRetry::Tries(tries)) => Some(tries),
        _ => None,
    });
    let Some(tries) = tries else { return };
    let sim = sim.clone();
    let watch = sim.clone();
    sim.spawn(async move {
        watch.sleep(multipathd::CHECK_INTERVAL * tries).await;
        watch.with(|world| {
            if world.route(map) == Route::Queues && world.multipathd.runs() {
                world.stop_queueing(map);
            }
        });
    });
}

/// `dmsetup message MAP 0 MESSAGE`.
pub async fn dmsetup(sim: &Sim, args: &[String]) -> (i32, String) {
    sim.sleep(sim.with(|world| world.latency(5, 30))).await;
    let words: Vec<&str> = args.iter().flat_map(|arg| arg.split(' ')).collect();
    let failed = || (1, "device-mapper: message ioctl failed: No such device or address\n".to_owned());
    let ["message", name, "0", message @ ..] = words.as_slice() else {
        return (1, format!("dmsetup {}: not modelled\n", args.join(" ")));
    };
    let Some(map) = sim.with(|world| world.map_named(name).cloned()) else {
        return failed();
    };
    match message {
        ["fail_if_no_path"] => sim.with(|world| world.stop_queueing(map.id)),
        ["fail_path", number] => {
            let is_it = |path: &&MapPath| format!("{}:{}", path.number.0, path.number.1) == **number;
            let Some(path) = map.paths.iter().find(is_it) else { return failed() };
            fail_path(sim, map.id, path.disk);
        }
        _ => return failed(),
    }
    (0, String::new())
}

impl World {
    /// Queueing ends: what waits is failed.
    pub fn stop_queueing(&mut self, map: u64) {
        if let Some(map) = self.maps.get_mut(&map) {
            map.queueing = false;
            let name = map.name.clone();
            self.note("kernel", format_args!("map {name} queues no more"));
            self.touch();
        }
    }
}
