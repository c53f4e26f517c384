//! What a verb told while it ran: in order for each path, since between paths there is none; and what must come before what
//! for the volume as a whole.

use std::collections::BTreeMap;

use bowline_host::Portal;
use serde_json::{Map, Value, json};

use crate::answer::number_of;

/// Which path each disk belongs to, by its name: told by events, and by looking.
pub type Devices = BTreeMap<String, usize>;

/// The events of one verb: by path, and of the volume. Some say nothing of the host.
pub fn of(events: &[Value], portals: &[Portal], devices: &mut Devices) -> Value {
    let mut by: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for event in events {
        let name = event["event"].as_str().unwrap_or_default();
        // How long another process holds a lock is nobody's promise.
        if matches!(name, "note" | "waiting_for_lock" | "") {
            continue;
        }
        by.entry(subject(event, portals, devices)).or_default().push(name);
    }
    let told = by.into_iter().map(|(who, names)| (who, json!(names.join(" "))));
    let mut told: Map<String, Value> = told.collect();
    let broken = broken(events, portals, devices);
    if !broken.is_empty() {
        told.insert("out of order".into(), json!(broken));
    }
    Value::Object(told)
}

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
    number.map_or_else(|| "volume".to_owned(), |number| format!("path {number}"))
}

/// What was told before what it follows from.
fn broken(events: &[Value], portals: &[Portal], devices: &mut Devices) -> Vec<&'static str> {
    let at = |name: &str| events.iter().position(|event| event["event"] == name);
    let last = |name: &str| events.iter().rposition(|event| event["event"] == name);
    let before = |first: Option<usize>, then: Option<usize>| !matches!((first, then), (Some(a), Some(b)) if a > b);
    let mut broken = Vec::new();
    if !before(at("path_joined"), at("map_ready")) {
        broken.push("the map was ready before a path was in it");
    }
    if !before(last("flushed"), at("map_removing")) {
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
        let told = of(&events, &portals(), &mut devices);
        let expected = json!({
            "path 1": "path_logged_in", "path 2": "path_logged_in device_appeared", "volume": "map_ready"
        });
        assert_eq!(told, expected);
        let events = [event("flushed", None, Some("dm-0")), event("device_gone", None, Some("sdb"))];
        assert_eq!(of(&events, &portals(), &mut devices), json!({"path 2": "device_gone", "volume": "flushed"}));
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
        let told = of(&events, &portals(), &mut Devices::new());
        assert_eq!(told["out of order"].as_array().map(Vec::len), Some(3), "{told}");
    }
}
