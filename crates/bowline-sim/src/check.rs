//! What must hold: after every verb, and in the end.

use std::collections::{BTreeMap, BTreeSet};

use bowline::journal;
use bowline::{Connected, Error, ErrorKind};
use serde_json::Value;

use crate::model::{BlockId, DiskState, World};
use crate::scenario::{ConnectJob, Scenario};

/// What others had before anything began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    sessions: BTreeSet<u32>,
    disks: BTreeSet<u64>,
    maps: BTreeSet<u64>,
    wwids: BTreeSet<String>,
    records: BTreeMap<String, Vec<u8>>,
    forsaken: bool,
}

impl Before {
    /// As it is now.
    pub fn of(world: &World) -> Self {
        Self {
            sessions: world.sessions.keys().copied().collect(),
            disks: world.disks.keys().copied().collect(),
            maps: world.maps.keys().copied().collect(),
            wwids: world.wwids.clone(),
            records: world.database.files.clone(),
            forsaken: false,
        }
    }

    /// What others left at the volume's own LUN a disconnect takes away with the volume (D3, D4), so it need not stay.
    pub fn disregard(&mut self) {
        self.forsaken = true;
    }

    /// The devices of others at a LUN that something is stacked upon: a connect of that LUN must leave them alone.
    pub fn held(&self, world: &World, lun: u64) -> BTreeSet<u64> {
        let is_held = |disk: &u64| {
            world.disks.get(disk).is_some_and(|disk| disk.lun == lun)
                && world.maps_upon(*disk).any(|map| self.maps.contains(&map.id))
        };
        self.disks.iter().copied().filter(is_held).collect()
    }

    /// Others have begun to use a device, and the session above it.
    pub fn adopt(&mut self, disk: u64, sid: u32) {
        self.disks.insert(disk);
        self.sessions.insert(sid);
    }

    /// What of others is missing: it must never be (C1, D4).
    pub fn missing(&self, world: &World) -> Vec<String> {
        if self.forsaken {
            return Vec::new();
        }
        let sessions = self.sessions.iter().filter(|sid| !world.sessions.contains_key(sid));
        let disks = self.disks.iter().filter(|id| !world.disks.contains_key(id));
        let maps = self.maps.iter().filter(|id| !world.maps.contains_key(id));
        let wwids = self.wwids.iter().filter(|wwid| !world.wwids.contains(*wwid));
        let records = self.records.keys().filter(|path| !world.database.files.contains_key(*path));
        (sessions.map(|sid| format!("session {sid} of others")))
            .chain(disks.map(|id| format!("device {id} of others")))
            .chain(maps.map(|id| format!("map {id} of others")))
            .chain(wwids.map(|wwid| format!("wwids entry {wwid} of others")))
            .chain(records.map(|path| format!("record {path} of others")))
            .collect()
    }

    /// What has changed of others' records: their values must be back in the end.
    pub fn changed(&self, world: &World) -> Vec<String> {
        let lines = |bytes: &[u8]| -> BTreeSet<String> {
            String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
        };
        let differs = |(path, bytes): &(&String, &Vec<u8>)| {
            world.database.files.get(*path).is_some_and(|now| lines(now) != lines(bytes))
        };
        self.records.iter().filter(differs).map(|(path, _)| format!("{path} is not as it was")).collect()
    }

    fn has_session(&self, sid: u32) -> bool {
        self.sessions.contains(&sid)
    }
}

/// The attachment id of a volume.
pub fn id_of(scenario: &Scenario, volume: usize) -> String {
    journal::id_of(&scenario.connection(volume, false).paths)
}

/// What is left on the host of one volume, though nothing should be: each with what it is.
pub fn left(world: &World, scenario: &Scenario, before: &Before, volume: usize) -> Vec<String> {
    let id = id_of(scenario, volume);
    let lun = scenario.lun(volume);
    let wwid = world.storage.volumes[volume].wwid();
    let mut left = Vec::new();
    for (sid, session) in &world.sessions {
        if scenario.iqn(volume, session.portal) != session.iqn {
            continue;
        }
        let below = || world.disks.values().filter(|disk| disk.sid == *sid);
        for disk in below().filter(|disk| disk.lun == lun && !before.disks.contains(&disk.id)) {
            left.push(match (disk.state, disk.name()) {
                (DiskState::Going, _) | (_, None) => format!("SCSI device {}:0:0:{}", disk.host, disk.lun),
                (_, Some(name)) => format!("SCSI device {name}"),
            });
        }
        let others = below().any(|disk| disk.lun != lun);
        if !before.has_session(*sid) && !others && !others_claim(world, &session.iqn, session.portal, &id) {
            left.push(format!("session {sid}"));
        }
    }
    left.extend(
        world
            .maps
            .values()
            .filter(|map| map.wwid == wwid && !before.maps.contains(&map.id))
            .map(|map| format!("multipath map {}", map.name)),
    );
    if world.wwids.contains(&wwid) && !before.wwids.contains(&wwid) {
        left.push(format!("wwids entry {wwid}"));
    }
    for portal in 0..scenario.portals {
        let iqn = scenario.iqn(volume, portal);
        let record = world.database.record(world.setup.nodes, &iqn, &world.address(portal));
        let claimed = others_claim(world, &iqn, portal, &id);
        // A record that bowline made at a session of others stays with it (`put_back`), also when that goes.
        let session = before.forsaken || world.session_at(&iqn, portal).is_some();
        if let Some(path) = record.filter(|path| !before.records.contains_key(path) && !claimed && !session) {
            left.push(format!("node record {path}"));
        }
        let login = world.iscsid.logins.get(&(iqn.clone(), portal));
        if login.is_some_and(|login| login.ours) && !claimed {
            left.push(format!("login under way to {iqn} at portal {portal}"));
        }
    }
    left.extend(own_state(world, &id));
    left
}

fn own_state(world: &World, id: &str) -> Vec<String> {
    let files = world.state.iter();
    files
        .filter(|(name, bytes)| name.contains(id) || String::from_utf8_lossy(bytes).contains(id))
        .map(|(name, _)| format!("state file {name}"))
        .collect()
}

/// Whether another attachment uses an endpoint.
fn others_claim(world: &World, iqn: &str, portal: usize, id: &str) -> bool {
    claims(world).any(|claim| {
        let address = world.address(portal);
        let at = claim["endpoint"]["portal"].as_str().unwrap_or_default();
        let at = at.trim_end_matches(":3260").trim_start_matches('[').trim_end_matches(']');
        let users = claim["users"].as_array().cloned().unwrap_or_default();
        claim["endpoint"]["iqn"] == iqn && at == address && users.iter().any(|user| user != id)
    })
}

fn claims(world: &World) -> impl Iterator<Item = Value> + '_ {
    let files = world.state.iter().filter(|(name, _)| name.starts_with("claims/"));
    files.filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
}

/// Whether something of the volume cannot be ended on this host any more, or only by waiting (findings: "A logout that
/// iscsid does not live to finish cannot be finished").
pub fn wedged(world: &World, scenario: &Scenario, volume: usize) -> bool {
    world
        .sessions
        .values()
        .any(|session| session.wedged && scenario.iqn(volume, session.portal) == session.iqn)
}

/// What is wrong with a device that was handed out.
pub fn handed_out(
    world: &World,
    scenario: &Scenario,
    volume: usize,
    job: ConnectJob,
    connected: &Connected,
    storage_is_steady: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let node = connected.device_node.rsplit('/').next().unwrap_or_default();
    let map = world.map_named(node);
    let disks: Vec<u64> = match (map, &connected.map) {
        (Some(map), Some(_)) => map.paths.iter().map(|path| path.disk).collect(),
        (None, None) => match world.block(node).map(|block| block.id) {
            Some(BlockId::Disk(disk)) => vec![disk],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    if disks.is_empty() {
        wrong.push(format!("C3: {} was handed out, and is not there", connected.device_node));
    }
    if job.multipath && connected.map.is_none() && connected.warnings.is_empty() {
        wrong.push("C11: a single device was handed out without a warning".into());
    }
    let identities: BTreeSet<usize> =
        disks.iter().filter_map(|disk| world.disks.get(disk)).map(|disk| disk.volume).collect();
    if identities.len() > 1 {
        wrong.push(format!("B3: the device handed out mixes volumes {identities:?}"));
    }
    if job.expects && identities.iter().any(|found| *found != volume) {
        wrong.push(format!("B3: volume {identities:?} was handed out, and {volume} was expected"));
    }
    let exported = world.storage.exported(&scenario.iqn(volume, 0), scenario.lun(volume));
    if storage_is_steady && identities.iter().any(|found| Some(*found) != exported) {
        wrong.push(format!("B3: volume {identities:?} was handed out, and the target exports {exported:?}"));
    }
    let wwids: BTreeSet<String> = identities.iter().map(|v| world.storage.volumes[*v].wwid()).collect();
    if let Some(wwid) = &connected.wwid
        && !wwids.is_empty()
        && !wwids.contains(wwid.as_str())
    {
        wrong.push(format!("C9: {wwid} is said of volumes {identities:?}"));
    }
    let journal = world.state.get(&format!("attachments/{}.json", id_of(scenario, volume)));
    if !journal.is_some_and(|bytes| String::from_utf8_lossy(bytes).contains("\"attached\"")) {
        wrong.push("B4: it was handed out, and no file says so".into());
    }
    wrong
}

/// What is wrong with an error as such.
pub fn told(error: &Error, secrets: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    if error.kind == ErrorKind::Internal {
        wrong.push(format!("a bug by its own words: {error}"));
    }
    if (error.kind == ErrorKind::Leftovers) == error.leftovers.is_empty() {
        wrong.push(format!("D9: {:?} with leftovers {:?}", error.kind, error.leftovers));
    }
    let text = format!("{error} {:?}", error.hints);
    if secrets.iter().any(|secret| text.contains(secret.as_str())) {
        wrong.push("B8: a secret in an error".into());
    }
    wrong
}

/// What is left and was not named (D9); an error that says that the host could not be observed names everything.
pub fn unnamed(left: &[String], error: &Error) -> Vec<String> {
    if error.leftovers.iter().any(|named| named.starts_with("unknown")) {
        return Vec::new();
    }
    let all = error.leftovers.join("\n");
    let is_named = |what: &String| {
        let last = what.rsplit(' ').next().unwrap_or_default();
        match what.split(' ').next() {
            Some("state" | "login") => true,
            Some("node") => all.contains("node record"),
            Some("session") => all.contains(&format!("session {last} ")),
            _ => all.contains(last),
        }
    };
    left.iter().filter(|what| !is_named(what)).cloned().collect()
}
