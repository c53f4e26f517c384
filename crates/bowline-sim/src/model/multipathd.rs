//! multipathd: its memory of paths, its socket, its checker, and the program multipath beside it.
//!
//! Facts: interfaces.md "multipathd"; findings "multipathd says `fail` and has made the map", "multipathd makes a map anew
//! that was just removed", "multipathd that is told of a path too early keeps it as an orphan".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_host::HostError;

use super::blocks::{BlockId, Cache};
use super::disks::{self, DiskState};
use super::iscsid::Power;
use super::maps::{Map, MapPath};
use super::udev::Gone;
use super::{World, udev};
use crate::executor::Sim;

/// `find_multipaths`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindMultipaths {
    /// Identities on file.
    Strict,
    /// On file, or two paths.
    Yes,
    /// Every disk is claimed and mapped.
    Greedy,
    /// Every disk is mapped, but claimed only if its identity is on file.
    No,
}

/// `no_path_retry`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPathRetry {
    /// Queue for ever.
    Queue,
    /// Fail at once.
    Fail,
    /// Queue for so many checks.
    Tries(u32),
}

/// How often a path is looked at (`polling_interval`).
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The longest (`max_polling_interval`).
const LONGEST_INTERVAL: Duration = Duration::from_secs(20);
/// REPORT TARGET PORT GROUPS, and what its checker sends.
const COMMANDS_OF_A_PATH: u32 = 2;
/// How long a request waits for its lock (interfaces: "Replies").
const LOCK_LIMIT: Duration = Duration::from_secs(4);
/// How often it wakes.
const CHECKER_TICK: Duration = Duration::from_secs(1);

/// The daemon.
#[derive(Debug, Clone, Default)]
pub struct Multipathd {
    /// Whether it is there.
    pub power: Power,
    /// What it remembers: disk names, with the identity it had from udev and the disk it was then.
    pub paths: BTreeMap<String, (u64, Option<String>)>,
    /// Friendly names that were given, as /etc/multipath/bindings keeps them.
    pub bindings: BTreeMap<String, String>,
    /// Its events wait this long at least: it is busy.
    pub busy: Duration,
    /// It has its lock, and asks a disk for its state.
    pub asks: bool,
    /// When a path of a map is looked at next, and how long after that again.
    checks: BTreeMap<(u64, u64), (Duration, Duration)>,
    /// How often it was started.
    pub starts: u32,
}

impl Multipathd {
    /// Whether it does anything.
    pub fn runs(&self) -> bool {
        self.power == Power::Runs
    }
}

impl World {
    /// Whether a disk of that identity is to be mapped without being asked for it.
    fn maps_by_itself(&self, wwid: &str) -> bool {
        let known = self.multipathd.paths.values().filter(|(_, of)| of.as_deref() == Some(wwid)).count();
        match self.setup.find_multipaths {
            _ if self.wwids.contains(wwid) => true,
            FindMultipaths::Strict => false,
            FindMultipaths::Yes => known >= 2,
            FindMultipaths::Greedy | FindMultipaths::No => true,
        }
    }

    /// The table that multipathd's memory amounts to: every path of the identity whose disk is there.
    fn paths_of(&self, wwid: &str) -> Vec<MapPath> {
        let known = self.multipathd.paths.values().filter(|(_, of)| of.as_deref() == Some(wwid));
        let path = |(disk, _): &(u64, Option<String>)| {
            let found = self.disks.get(disk).filter(|disk| disk.state != DiskState::Going)?;
            let number = found.number()?;
            Some(MapPath { disk: *disk, number, active: self.path_works(*disk) })
        };
        known.filter_map(path).collect()
    }

    fn alias(&mut self, wwid: &str) -> String {
        if !self.setup.friendly_names {
            return wwid.to_owned();
        }
        let next = char::from(b'a' + self.multipathd.bindings.len() as u8);
        self.multipathd.bindings.entry(wwid.to_owned()).or_insert_with(|| format!("mpath{next}")).clone()
    }
}

/// Makes the map of an identity, or puts its new paths into the one there is; false without any path, and where one that the
/// map does not have yet cannot be opened or has gone (findings: "One path that is offline keeps all others out"). A new one gets its table a while
/// after it was made.
fn make_map(sim: &Sim, wwid: &str, later: Duration) -> bool {
    let made = sim.with(|world| {
        let paths = world.paths_of(wwid);
        let has = |disk| {
            world.maps.values().any(|map| map.wwid == wwid && map.paths.iter().any(|path| path.disk == disk))
        };
        let closed =
            |path: &&MapPath| world.disks[&path.disk].state == DiskState::TransportOffline && !has(path.disk);
        if let Some(path) = paths.iter().find(closed) {
            world.note("multipathd", format_args!("cannot load a table with disk {}: ENXIO", path.disk));
            return None;
        }
        let first = world.disks.get(&paths.first()?.disk)?;
        let (sectors, foreign) = (world.storage.volumes[first.volume].sectors, first.foreign);
        let queueing = world.setup.no_path_retry != super::NoPathRetry::Fail;
        for path in &paths {
            let sid = world.disks[&path.disk].sid;
            if let Some(session) = world.sessions.get_mut(&sid) {
                // fast_io_fail_tmo (findings: "I/O on a dead path waits for fifteen seconds").
                session.recovery = Duration::from_secs(5);
            }
        }
        let known = world.maps.values_mut().find(|map| map.wwid == wwid);
        if let Some(map) = known {
            let (id, minor) = (map.id, map.minor);
            if map.paths.iter().map(|path| path.disk).eq(paths.iter().map(|path| path.disk)) {
                return Some((id, Made::Same));
            }
            map.paths = paths;
            map.queueing = queueing;
            map.live = true;
            world.note("multipathd", format_args!("reloads dm-{minor}"));
            world.touch();
            return Some((id, Made::Changed));
        }
        let id = world.serial();
        let minor = (0..).find(|minor| world.maps.values().all(|map| map.minor != *minor)).unwrap_or(0);
        let name = world.alias(wwid);
        world.note("multipathd", format_args!("makes map {name} (dm-{minor})"));
        let map = Map {
            id,
            minor,
            name,
            wwid: wwid.to_owned(),
            sectors,
            live: false,
            paths: Vec::new(),
            queueing,
            cache: Cache::default(),
            link: false,
            foreign,
        };
        world.maps.insert(id, map);
        world.wwids.insert(wwid.to_owned());
        world.touch();
        Some((id, Made::New(paths)))
    });
    let Some((id, made)) = made else { return false };
    let load = move |sim: &Sim, paths| sim.with(|world| world.load_table(id, paths));
    match made {
        Made::Same => {}
        Made::Changed => udev::map_changed(sim, id, udev::Reads::Yes),
        Made::New(paths) if later.is_zero() => {
            if !load(sim, paths) {
                return false;
            }
            udev::map_changed(sim, id, udev::Reads::Yes);
        }
        Made::New(paths) => {
            let work = sim.clone();
            sim.spawn(async move {
                work.sleep(later).await;
                if load(&work, paths) {
                    udev::map_changed(&work, id, udev::Reads::Yes);
                }
            });
        }
    }
    true
}

/// What became of a map.
enum Made {
    /// It has these paths already.
    Same,
    /// It has another table.
    Changed,
    /// It is there, and will have a table of these paths.
    New(Vec<MapPath>),
}

/// A disk's event has reached it: it takes the identity from udev's record, and asks the disk for its state with its lock held
/// (findings: "multipathd waits for the very disks that go next").
pub async fn path_event(sim: &Sim, disk: u64) {
    let pause = sim.with(|world| world.multipathd.busy + world.latency(1, 30));
    sim.sleep(pause).await;
    let free = |world: &mut World| {
        let daemon = &world.multipathd;
        (daemon.power == Power::Dead || (daemon.runs() && !daemon.asks)).then_some(daemon.starts)
    };
    let start = sim.until(free).await;
    let known = sim.with(|world| {
        // Of a path that it was told of by a request, and has an identity of, the event is news no more (0.9.4
        // `multipathd/main.c` `uev_add_path`).
        let name = world.disks.get(&disk)?.name()?;
        let spurious = matches!(world.multipathd.paths.get(&name), Some((of, Some(_))) if *of == disk);
        let hears = world.multipathd.runs() && !world.setup.blacklisted && !spurious;
        let known = hears.then(|| learn(world, disk)).flatten()?;
        world.multipathd.asks = true;
        Some(known)
    });
    let Some(wwid) = known else { return };
    let _ = disks::command(sim, disk, COMMANDS_OF_A_PATH).await;
    // One that is stopped goes on where it was.
    let goes_on = |world: &mut World| {
        let daemon = &world.multipathd;
        let ended = daemon.starts != start || daemon.power == Power::Dead;
        (ended || daemon.runs()).then_some(!ended)
    };
    let same = sim.until(goes_on).await;
    sim.with(|world| {
        if world.multipathd.starts == start {
            world.multipathd.asks = false;
            world.touch();
        }
    });
    if same && sim.with(|world| world.maps_by_itself(&wwid)) {
        let later = sim.with(|world| world.latency(0, 8));
        make_map(sim, &wwid, later);
    }
}

/// Remembers a disk; its identity where udev has told it. Without one the path is kept as an orphan.
fn learn(world: &mut World, disk: u64) -> Option<String> {
    let found = world.disks.get(&disk)?;
    let (name, number) = (found.name()?, found.number()?);
    let wwid = world.udev.records.get(&number).and_then(|record| record.serial.clone());
    world.multipathd.paths.insert(name, (disk, wwid.clone()));
    world.touch();
    wwid
}

/// A disk is gone: its event is on its way to multipathd, which takes it out of memory and table. The last path takes its
/// map with it, where nobody has that open.
pub fn path_gone(world: &mut World, disk: u64, name: String, devpath: String) {
    let at = world.clock.now() + world.multipathd.busy + world.latency(5, 60);
    world.udev.gone.push_back(Gone { at, disk, name, devpath });
}

/// What [`path_gone`] has sent, once it has arrived. It hears of a disk's end before it hears of the next one of that name.
pub fn forget_path(sim: &Sim, gone: Gone) {
    sim.with(|world| world.event(gone.devpath));
    let heard = sim.with(|world| {
        let known = world.multipathd.paths.get(&gone.name).is_some_and(|(disk, _)| *disk == gone.disk);
        (known && world.multipathd.runs()).then(|| world.multipathd.paths.remove(&gone.name)).flatten()
    });
    let Some((disk, _)) = heard else { return };
    let maps: Vec<u64> = sim.with(|world| world.maps_upon(disk).map(|map| map.id).collect());
    for id in maps {
        let empty = sim.with(|world| {
            let free = world.open_count(BlockId::Map(id)) == 0;
            let map = world.maps.get_mut(&id)?;
            map.paths.retain(|path| path.disk != disk);
            let empty = map.paths.is_empty() && free;
            world.touch();
            Some(empty)
        });
        match empty {
            Some(true) => sim.with(|world| world.remove_map(id)),
            _ => udev::map_changed(sim, id, udev::Reads::No),
        }
    }
}

/// What its checker finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The target answers.
    Up,
    /// The disk was given up, or the target refuses.
    Down,
    /// It cannot be told yet: the session is lost, and may come back (0.9.4 `path_offline`: `blocked` is PATH_PENDING).
    Pending,
}

impl World {
    fn check(&self, disk: u64) -> Found {
        let Some(found) = self.disks.get(&disk) else { return Found::Down };
        let Some(session) = self.sessions.get(&found.sid) else { return Found::Down };
        let given_up = found.state == DiskState::TransportOffline;
        match self.path_works(disk) {
            true => Found::Up,
            false if given_up || session.offline => Found::Down,
            // A silent portal: the checker's own command waits until the session is lost.
            false
                if session.state != super::SessionState::LoggedIn
                    || !self.links[session.portal].answers() =>
            {
                Found::Pending
            }
            false => Found::Down,
        }
    }

    /// Looks at the paths that are due; the maps of which something has changed.
    fn check_paths(&mut self) -> BTreeSet<u64> {
        if !self.multipathd.runs() || self.multipathd.asks {
            return BTreeSet::new();
        }
        let of_map = |map: &Map| map.paths.iter().map(|path| (map.id, path.disk)).collect::<Vec<_>>();
        let paths: Vec<(u64, u64)> = self.maps.values().flat_map(of_map).collect();
        let mut checks = std::mem::take(&mut self.multipathd.checks);
        checks.retain(|key, _| paths.contains(key));
        let mut changed = BTreeSet::new();
        for (map, disk) in paths {
            let check = checks.entry((map, disk)).or_insert((Duration::ZERO, CHECK_INTERVAL));
            if check.0 > self.now() {
                continue;
            }
            let found = self.check(disk);
            if found != Found::Pending && self.set_path(map, disk, found == Found::Up) {
                changed.insert(map);
                check.1 = CHECK_INTERVAL;
            } else if found == Found::Up {
                check.1 = (check.1 * 2).min(LONGEST_INTERVAL);
            }
            check.0 = self.now() + if found == Found::Pending { CHECKER_TICK } else { check.1 };
            if found == Found::Up
                && self.setup.no_path_retry != NoPathRetry::Fail
                && let Some(map) = self.maps.get_mut(&map)
            {
                // A path that works brings queueing back.
                map.queueing = true;
            }
        }
        self.multipathd.checks = checks;
        changed
    }
}

/// Its checker: paths that work are used again, others are not. A path that is fine is looked at less and less often; one
/// of which nothing can be told, every second (0.9.4 `check_path`).
pub async fn checker(sim: Sim) {
    loop {
        sim.sleep(CHECKER_TICK).await;
        for map in sim.with(World::check_paths) {
            udev::map_changed(&sim, map, udev::Reads::No);
        }
    }
}

/// Starts it anew: it reads what udev knows, and finds the maps there are.
pub fn start(sim: &Sim) {
    let disks: Vec<u64> = sim.with(|world| {
        world.multipathd.power = Power::Runs;
        world.multipathd.starts += 1;
        world.multipathd.asks = false;
        world.multipathd.paths.clear();
        world.note("multipathd", format_args!("starts"));
        world.touch();
        world.disks.keys().copied().collect()
    });
    for disk in disks {
        let learner = sim.clone();
        sim.spawn(async move { path_event(&learner, disk).await });
    }
}

/// Asks it a line, as its socket answers.
pub async fn ask(sim: &Sim, command: &str, limit: Duration) -> Result<String, HostError> {
    let by = sim.now() + limit;
    let pause = sim.with(|world| world.latency(1, 8));
    sim.sleep(pause.min(limit)).await;
    let there = sim
        .until_by(by, |world| match world.multipathd.power {
            Power::Runs => Some(true),
            Power::Dead => Some(false),
            Power::Frozen => None,
        })
        .await;
    match there {
        Some(true) => {}
        Some(false) => {
            let why = "nobody listens at its socket";
            return Err(HostError::unavailable("ask multipathd", command, why));
        }
        None => return Err(HostError::timed_out("ask multipathd", command, limit)),
    }
    let words: Vec<&str> = command.split(' ').collect();
    // All but this is answered with its lock held, lists of paths too (0.9.4 `multipathd/callbacks.c`).
    if words.as_slice() != ["show", "daemon"] {
        let patience = by.min(sim.now() + LOCK_LIMIT);
        let free = sim.until_by(patience, |world| (!world.multipathd.asks).then_some(())).await;
        let busy = sim.with(|world| world.multipathd.busy);
        sim.sleep(busy.min(LOCK_LIMIT).min(by.saturating_sub(sim.now()))).await;
        if free.is_none() || busy >= LOCK_LIMIT {
            return Ok("timeout".into());
        }
    }
    let reply = match words.as_slice() {
        ["show", "daemon"] => format!("pid {} idle", 300),
        ["show", "paths", ..] => sim.with(|world| show_paths(world)),
        ["add", "path", name] => add_path(sim, name),
        ["add", "map", wwid] => add_map(sim, wwid),
        ["del", "map", name] => del_map(sim, name),
        ["del", "path", name] => say(sim.with(|world| world.multipathd.paths.remove(*name).is_some())),
        ["disablequeueing", "map", name] => {
            say(sim.with(|world| match world.map_named(name).map(|map| map.id) {
                Some(map) => {
                    world.stop_queueing(map);
                    true
                }
                None => false,
            }))
        }
        ["fail", "path", name] => fail_path(sim, name),
        _ => "fail".into(),
    };
    sim.with(|world| {
        let first = reply.lines().next().unwrap_or_default();
        world.note("multipathd", format_args!("{command}: {first}"));
    });
    Ok(reply)
}

fn say(done: bool) -> String {
    if done { "ok".into() } else { "fail".into() }
}

/// A map by its name; by its WWID only where that is its name (interfaces: "Traps in 0.9.4").
/// testdata/multipathd/0.9.4/show-paths-raw; with no path at all it says `ok`.
fn show_paths(world: &World) -> String {
    let line = |(name, (disk, wwid)): (&String, &(u64, Option<String>))| {
        let map = world.maps_upon(*disk).next().map_or("[orphan]", |map| map.name.as_str());
        format!("{name}|{}|{map}", wwid.as_deref().unwrap_or_default())
    };
    let lines: Vec<String> = world.multipathd.paths.iter().map(line).collect();
    if lines.is_empty() { "ok".into() } else { lines.join("\n") }
}

fn add_path(sim: &Sim, name: &str) -> String {
    let disk = sim.with(|world| match world.block(name).map(|block| block.id) {
        Some(BlockId::Disk(disk)) if !world.setup.blacklisted => Some(disk),
        _ => None,
    });
    // Also the answer for a device that does not exist (interfaces: "Replies").
    let Some(disk) = disk else { return "blacklisted".into() };
    if let Some(wwid) = sim.with(|world| learn(world, disk))
        && sim.with(|world| world.maps_by_itself(&wwid) || world.map_of(&wwid).is_some())
    {
        make_map(sim, &wwid, Duration::ZERO);
    }
    "ok".into()
}

fn add_map(sim: &Sim, wwid: &str) -> String {
    let made = make_map(sim, wwid, Duration::ZERO);
    // The name it looks the map up by afterwards is the one it was given (findings: "multipathd says `fail` …").
    say(made && !sim.with(|world| world.setup.friendly_names))
}

/// Refused while anybody has the map open.
fn del_map(sim: &Sim, name: &str) -> String {
    say(sim.with(|world| match world.map_named(name).map(|map| map.id) {
        Some(map) if world.open_count(BlockId::Map(map)) == 0 => {
            world.remove_map(map);
            true
        }
        _ => false,
    }))
}

fn fail_path(sim: &Sim, name: &str) -> String {
    let path = sim.with(|world| {
        let (disk, _) = *world.multipathd.paths.get(name).as_ref()?;
        Some((world.maps_upon(*disk).next()?.id, *disk))
    });
    if let Some((map, disk)) = path {
        super::maps::fail_path(sim, map, disk);
    }
    say(path.is_some())
}

/// The program `multipath`: the removal of a map where the daemon does not run.
pub async fn program(sim: &Sim, args: &[String]) -> (i32, String) {
    let start = sim.with(|world| world.latency(5, 25));
    sim.sleep(start).await;
    let (option, of) = match args {
        [option, of] => (option.as_str(), of.as_str()),
        _ => return (1, "multipath: usage\n".into()),
    };
    let done = match option {
        "-f" => del_map(sim, of) == "ok",
        _ => false,
    };
    sim.with(|world| {
        world.note("multipath", format_args!("{option} {of}: {done}"));
        world.touch();
    });
    if done { (0, String::new()) } else { (1, format!("{of}: map in use\n")) }
}
