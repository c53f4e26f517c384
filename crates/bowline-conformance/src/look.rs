//! What is there, through the engine's own eyes: its topology of each volume, its journal, its claims.

use std::collections::BTreeMap;

use bowline::topology::{MapView, Openers, Scope, SessionView, Topology, observe};
use bowline::{WantedPath, claims, inspect};
use bowline_host::iscsi::{self, SessionState};
use bowline_host::scsi::DeviceState;
use bowline_host::{Host, Wwid, scsi};
use serde_json::{Map, Value, json};

/// A volume that a case is about.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its paths: number 1 is the first.
    pub paths: Vec<WantedPath>,
    /// Its identity.
    pub wwid: String,
}

/// The engine's topology of a volume.
///
/// # Errors
/// The host cannot be observed.
pub fn topology(host: &dyn Host, known: &Known) -> Result<Topology, String> {
    let wwid: Wwid = known.wwid.parse().map_err(|error| format!("{}: {error}", known.wwid))?;
    let paths = known.paths.clone();
    let scope = Scope {
        paths,
        beside: Default::default(),
        unproven: Default::default(),
        wwid: Some(wwid),
        openers: Openers::Unasked,
        bare: false,
    };
    observe(host, &scope).map_err(|error| error.to_string())
}

/// Looks at the volumes and at bowline's own state. What is not there has no key.
///
/// # Errors
/// The host cannot be observed.
pub fn host(host: &dyn Host, volumes: &BTreeMap<String, Known>) -> Result<Value, String> {
    let mut seen = Map::new();
    for (name, known) in volumes {
        let volume = volume(host, known)?;
        if volume.as_object().is_some_and(|keys| !keys.is_empty()) {
            seen.insert(name.clone(), volume);
        }
    }
    for (kind, count) in counts(host)? {
        if count > 0 {
            seen.insert(kind.to_owned(), json!(count));
        }
    }
    let inspection = inspect(host, None).map_err(|error| error.to_string())?;
    for report in &inspection.attachments {
        let owner = volumes.iter().find(|(_, known)| bowline::journal::id_of(&known.paths) == report.id);
        let name = owner.map_or("another volume", |(name, _)| name.as_str());
        // That a path is not in use is seen below, of each.
        let problems = report.problems.iter().filter(|problem| !problem.starts_with("path ")).count();
        let phase = &report.phase;
        let state = format!("{phase}, {problems} problems, {} missing", report.missing.len());
        seen.insert(format!("attachment of {name}"), json!(state));
    }
    if !inspection.leftovers.is_empty() {
        seen.insert("leftovers".into(), json!(inspection.leftovers.len()));
    }
    Ok(Value::Object(seen))
}

/// Whether a volume's map cannot be used although a path of it runs.
///
/// # Errors
/// The host cannot be observed.
pub fn any_unready(host: &dyn Host, volumes: &BTreeMap<String, Known>) -> Result<bool, String> {
    for known in volumes.values() {
        let topology = topology(host, known)?;
        if topology.map.as_ref().is_some_and(|view| !view.ready() && runs(&topology, view, known)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All that is there, whosever it is.
fn counts(host: &dyn Host) -> Result<[(&'static str, usize); 4], String> {
    let records = iscsi::all_records(host).map_err(|error| error.to_string())?.len();
    let sessions = iscsi::sessions_of(host, |_| true).map_err(|error| error.to_string())?.len();
    let devices = scsi::addresses(host).map_err(|error| error.to_string())?.len();
    let claims = claims::load_all(host).map_err(|error| error.to_string())?.len();
    Ok([("records", records), ("sessions", sessions), ("devices", devices), ("claims", claims)])
}

fn volume(host: &dyn Host, known: &Known) -> Result<Value, String> {
    let topology = topology(host, known)?;
    let claims = claims::load_of(host, known.paths.iter().map(|path| &path.endpoint))
        .map_err(|error| error.to_string())?;
    let mut seen = Map::new();
    for (number, path) in (1..).zip(&known.paths) {
        let mut words = Vec::new();
        if topology.record(&path.endpoint).is_some() {
            words.push("record".to_owned());
        }
        if let Some(claim) = claims.get(&path.endpoint) {
            let made = [(claim.made_record, " made record"), (claim.made_session, " made session")];
            let made: String = made.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
            words.push(format!("claim of {}{made}", claim.users.len()));
        }
        if let Some(session) = topology.session(&path.endpoint) {
            words.push(of_session(session).to_owned());
            words.extend(of_device(session, path, topology.map.as_ref()));
            if session.others > 0 {
                words.push(format!("{} other devices", session.others));
            }
        }
        if !words.is_empty() {
            seen.insert(format!("path {number}"), json!(words.join(", ")));
        }
    }
    if let Some(view) = &topology.map {
        seen.insert("map".into(), json!(of_map(&topology, view, known)));
    }
    if topology.wwid_on_file {
        seen.insert("wwid".into(), json!("on file"));
    }
    if !topology.foreign_maps.is_empty() {
        seen.insert("maps of another identity".into(), json!(topology.foreign_maps.len()));
    }
    Ok(Value::Object(seen))
}

fn of_session(session: &SessionView) -> &'static str {
    match session.session.state {
        SessionState::LoggedIn => "session",
        // One comes of the other with time.
        SessionState::Failed | SessionState::Free => "session lost",
        SessionState::Unknown => "session in an unknown state",
    }
}

fn of_device(session: &SessionView, path: &WantedPath, map: Option<&MapView>) -> Vec<String> {
    let Some(view) = session.device(path.lun) else { return Vec::new() };
    let state = match view.device.state {
        DeviceState::Running => "device",
        DeviceState::Blocked | DeviceState::Offline => "device lost",
        DeviceState::Going => "device going",
        DeviceState::Unknown => "device in an unknown state",
    };
    if matches!(view.device.state, DeviceState::Blocked | DeviceState::Offline) {
        // multipathd looks at a path every 5 to 20 s, so whether it has noticed yet tells nothing.
        return vec![state.to_owned()];
    }
    let number = view.block().map(|block| block.number);
    let place = match (map, number) {
        (_, None) => "no disk yet",
        (Some(map), Some(number)) if map.is_active(number) => "active",
        (Some(map), Some(number)) if map.has(number) => "failed",
        _ => "in no map",
    };
    vec![state.to_owned(), place.to_owned()]
}

/// Whether a path of the map has a device that runs.
fn runs(topology: &Topology, view: &MapView, known: &Known) -> bool {
    topology.devices_of(&known.paths).any(|device| {
        let in_map = device.block().is_some_and(|block| view.has(block.number));
        in_map && device.device.state == DeviceState::Running
    })
}

fn of_map(topology: &Topology, view: &MapView, known: &Known) -> String {
    let named = match view.map.name.as_str() == known.wwid {
        true => "named by identity",
        false => "named by alias",
    };
    let ready = match (runs(topology, view, known), view.ready()) {
        (false, _) => "without a path that runs",
        (true, true) => "ready",
        (true, false) => "not ready",
    };
    let rest = [
        (!view.strangers.is_empty(), ", with paths of others"),
        (view.map.suspended, ", suspended"),
        (view.block.as_ref().is_some_and(|block| block.read_only), ", read-only"),
    ];
    let rest: String = rest.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
    format!("{ready}, {named}, {} paths{rest}", view.map.paths.len())
}

/// How many paths the volume's map has, where it can be used, the kernel uses all of them and their sessions are well (else none: a map
/// shows a path as active long after it is dead), and how many devices there are.
///
/// # Errors
/// The host cannot be observed.
pub fn in_use(host: &dyn Host, known: &Known) -> Result<(usize, usize), String> {
    let topology = topology(host, known)?;
    let usable = || topology.sessions.iter().filter(|session| session.usable());
    let running = || {
        usable().flat_map(|session| &session.devices).filter(|view| view.device.state == DeviceState::Running)
    };
    let runs = |number| running().filter_map(|view| view.block()).any(|block| block.number == number);
    let whole =
        |view: &&MapView| view.ready() && view.map.paths.iter().all(|path| path.active && runs(path.number));
    let active = topology.map.as_ref().filter(whole).map_or(0, |view| view.map.paths.len());
    let devices = topology.devices_of(&known.paths).count();
    Ok((active, devices))
}
