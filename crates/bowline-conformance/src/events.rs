//! What a verb told while it ran: in order for each path, since between paths there is none; and what must come before what
//! for the volume as a whole.

use std::collections::BTreeMap;

use bowline_host::Portal;
use serde_json::{Map, Value, json};

use crate::answer::number_of;

/// Which path each disk belongs to, by its name: told by events, and by looking.
pub type Devices = BTreeMap<String, usize>;

/// Told or not depending on who is first: another process that holds a lock, multipathd that makes the map unasked.
const UNPROMISED: [&str; 4] = ["note", "waiting_for_lock", "map_requested", ""];

/// What may have to be done again right after it was done: a flush, when somebody (udev, on a real kernel) was in a last close while it began; both,
/// when that one was seen only while the removal was refused for it; a map's removal, when multipathd made the map anew from the event of a path that it
/// had not dealt with yet, and then perhaps its flush.
const AGAIN: [&[&str]; 4] = [
    &["flushing", "flushed"],
    &["flushing", "flushed", "map_removing"],
    &["map_removing", "map_removed"],
    &["flushing", "flushed", "map_removing", "map_removed"],
];

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It reached its goal.
    Well,
    /// It did not: how far each path had come by then depends on who was first, and only its end is promised.
    Failed,
}

/// The events of one verb: by path, and of the volume.
pub fn of(events: &[Value], ended: Ended, portals: &[Portal], devices: &mut Devices) -> Value {
    let mut by: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for event in events {
        let name = event["event"].as_str().unwrap_or_default();
        if UNPROMISED.contains(&name) {
            continue;
        }
        let who = subject(event, portals, devices);
        // Of a disk that came and went untold, nobody knows whose it was.
        if who == VOLUME && name.starts_with("device_") {
            continue;
        }
        let names = by.entry(who).or_default();
        // What is tried again is told again; how often depends on how long others take.
        if names.last() != Some(&name) {
            names.push(name);
        }
        if let Some(again) = AGAIN.iter().find(|again| names.ends_with(&again.repeat(2))) {
            names.truncate(names.len() - again.len());
        }
    }
    for (who, names) in &mut by {
        logged_in_first(names);
        read_before_it_joined(names);
        if ended == Ended::Failed && who != VOLUME {
            names.drain(..names.len() - 1);
        }
    }
    let told = by.into_iter().map(|(who, names)| (who, json!(names.join(" "))));
    let mut told: Map<String, Value> = told.collect();
    let broken = broken(events, portals, devices);
    if !broken.is_empty() {
        told.insert("out of order".into(), json!(broken));
    }
    Value::Object(told)
}

/// That a path is logged in is told when iscsiadm has ended; its session may be seen, and scanned, before that.
fn logged_in_first(names: &mut Vec<&str>) {
    let place = |names: &[&str], name: &str| names.iter().position(|found| *found == name);
    if let (Some(scanning), Some(logged_in)) = (place(names, "path_scanning"), place(names, "path_logged_in"))
        && scanning < logged_in
    {
        let name = names.remove(logged_in);
        names.insert(scanning, name);
    }
}

/// Whether a disk is read by itself before multipathd has it in a map depends on who is first, where multipathd maps it unasked.
fn read_before_it_joined(names: &mut Vec<&str>) {
    if names.contains(&"path_joined") {
        names.retain(|name| *name != "device_read");
    }
}

/// What is of no path.
const VOLUME: &str = "volume";

/// Whom an event is of: a path, or the volume.
fn subject(event: &Value, portals: &[Portal], devices: &mut Devices) -> String {
    let device = event["device"].as_str();
    if event["endpoint"].is_object() {
        let number = number_of(&event["endpoint"], portals);
        if let (Some(device), Ok(number)) = (device, number.parse()) {
            devices.insert(device.to_owned(), number);
        }
        return format!("path {number}");
    }
    let number = device.and_then(|device| devices.get(device));
    number.map_or_else(|| VOLUME.to_owned(), |number| format!("path {number}"))
}

/// What was told before what it follows from.
fn broken(events: &[Value], portals: &[Portal], devices: &mut Devices) -> Vec<&'static str> {
    let at = |name: &str| events.iter().position(|event| event["event"] == name);
    let last = |name: &str| events.iter().rposition(|event| event["event"] == name);
    let before =
        |first: Option<usize>, then: Option<usize>| !matches!((first, then), (Some(a), Some(b)) if a > b);
    let mut broken = Vec::new();
    if !before(at("path_joined"), at("map_ready")) {
        broken.push("the map was ready before a path was in it");
    }
    // A removal that was refused may be followed by another flush, but no flush by nothing.
    if !before(at("flushed"), at("map_removing")) || !before(last("flushed"), last("map_removing")) {
        broken.push("the map was removed before it was flushed");
    }
    if !before(at("map_removed"), at("device_deleting")) {
        broken.push("a device was deleted before the map was gone");
    }
    for (number, portal) in (1..).zip(portals) {
        let is = |event: &&Value, name: &str| event["event"] == name;
        let of_path = |event: &&Value, devices: &Devices| {
            event["endpoint"]["portal"] == portal.to_string()
                || event["device"].as_str().and_then(|d| devices.get(d)) == Some(&number)
        };
        let place = |name: &str, devices: &Devices| {
            events.iter().position(|event| is(&event, name) && of_path(&event, devices))
        };
        if !before(place("device_gone", devices), place("path_logging_out", devices)) {
            broken.push("a session was ended before its device was gone");
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, portal: Option<u8>, device: Option<&str>) -> Value {
        let mut event = json!({"schema": 1, "at": 0.5, "event": name});
        if let Some(portal) = portal {
            event["endpoint"] = json!({"iqn": "iqn.a:1", "portal": format!("10.0.{portal}.2:3260")});
        }
        if let Some(device) = device {
            event["device"] = json!(device);
        }
        event
    }

    fn portals() -> Vec<Portal> {
        ["10.0.1.2:3260", "10.0.2.2:3260"].map(|portal| portal.parse().unwrap()).into()
    }

    #[test]
    fn each_path_by_itself() {
        let events = [
            event("path_logged_in", Some(2), None),
            event("path_logged_in", Some(1), None),
            event("waiting_for_lock", None, None),
            event("device_appeared", Some(2), Some("sdb")),
            event("map_ready", None, None),
        ];
        let mut devices = Devices::new();
        let told = of(&events, Ended::Well, &portals(), &mut devices);
        let expected = json!({
            "path 1": "path_logged_in", "path 2": "path_logged_in device_appeared", "volume": "map_ready"
        });
        assert_eq!(told, expected);
        let events = [event("flushed", None, Some("dm-0")), event("device_gone", None, Some("sdb"))];
        assert_eq!(
            of(&events, Ended::Well, &portals(), &mut devices),
            json!({"path 2": "device_gone", "volume": "flushed"})
        );
    }

    #[test]
    fn how_often_a_map_was_flushed_or_removed_is_not_promised() {
        let told = |names: &[&str]| {
            let events: Vec<_> = names.iter().map(|name| event(name, None, Some("dm-0"))).collect();
            of(&events, Ended::Well, &portals(), &mut Devices::new())["volume"].clone()
        };
        let again = ["flushing", "flushed", "flushing", "flushed", "flushing", "flushed", "map_removing"];
        assert_eq!(told(&again), "flushing flushed map_removing");
        let anew = ["flushing", "flushed", "map_removing", "map_removed", "map_removing", "map_removed"];
        assert_eq!(told(&anew), "flushing flushed map_removing map_removed");
        let refused =
            ["flushing", "flushed", "map_removing", "flushing", "flushed", "map_removing", "map_removed"];
        assert_eq!(told(&refused), "flushing flushed map_removing map_removed");
        assert_eq!(told(&[&anew[..], &refused[..]].concat()), "flushing flushed map_removing map_removed");
        let failed = ["flushing", "flushed", "flushing", "map_removing"];
        assert_eq!(told(&failed), "flushing flushed flushing map_removing", "the second flush has no end");
    }

    #[test]
    fn whether_a_disk_of_a_map_was_read_by_itself_is_not_promised() {
        let told = |names: &[&str]| {
            let events: Vec<_> = names.iter().map(|name| event(name, Some(1), None)).collect();
            of(&events, Ended::Well, &portals(), &mut Devices::new())["path 1"].clone()
        };
        assert_eq!(told(&["device_appeared", "device_read", "path_joined"]), "device_appeared path_joined");
        assert_eq!(told(&["device_appeared", "path_joined"]), "device_appeared path_joined");
        assert_eq!(told(&["device_appeared", "device_read"]), "device_appeared device_read");
    }

    #[test]
    fn of_a_failure_only_the_end_of_each_path() {
        let events = [
            event("path_preparing", Some(1), None),
            event("path_scanning", Some(1), None),
            event("path_logged_in", Some(1), None),
        ];
        let told = |ended| of(&events, ended, &portals(), &mut Devices::new())["path 1"].clone();
        assert_eq!(told(Ended::Well), "path_preparing path_logged_in path_scanning");
        assert_eq!(told(Ended::Failed), "path_scanning");
    }

    #[test]
    fn a_flush_comes_before_every_removal() {
        let told = |names: &[&str]| {
            let events: Vec<_> = names.iter().map(|name| event(name, None, Some("dm-0"))).collect();
            of(&events, Ended::Well, &portals(), &mut Devices::new())["out of order"].clone()
        };
        assert_eq!(told(&["flushed", "map_removing", "flushed", "map_removing", "map_removed"]), Value::Null);
        assert_ne!(told(&["map_removing", "flushed", "map_removing", "map_removed"]), Value::Null);
        assert_ne!(told(&["flushed", "map_removing", "flushed", "map_removed"]), Value::Null);
    }

    #[test]
    fn what_is_out_of_order_is_said() {
        let events = [
            event("map_ready", None, None),
            event("path_joined", Some(1), Some("sda")),
            event("map_removing", None, None),
            event("flushed", None, Some("dm-0")),
            event("path_logging_out", Some(1), None),
            event("device_gone", None, Some("sda")),
        ];
        let told = of(&events, Ended::Well, &portals(), &mut Devices::new());
        assert_eq!(told["out of order"].as_array().map(Vec::len), Some(3), "{told}");
    }
}
