//! What a verb answered, without what differs from host to host.

use bowline_host::Portal;
use serde_json::{Map, Value, json};

use crate::stage::Answer;

/// The answer of a connect to a volume of that identity by those portals.
pub fn of_connect(answer: &Answer, portals: &[Portal], wwid: &str) -> Value {
    if answer.said["error"].is_object() {
        return of_error(answer, portals);
    }
    let said = &answer.said;
    let mut paths = Map::new();
    for path in said["paths"].as_array().into_iter().flatten() {
        paths.insert(number_of(path, portals), path["state"].clone());
    }
    for path in said["failed_paths"].as_array().into_iter().flatten() {
        paths.insert(number_of(path, portals), json!("missing"));
    }
    let node = said["device_node"].as_str().unwrap_or_default();
    json!({
        "exit": answer.code,
        "changed": said["changed"],
        "node": if node.starts_with("/dev/mapper/") { "map" } else { "disk" },
        "identity": if said["wwid"] == wwid { "its own" } else { "another" },
        "paths": paths,
        "warnings": count(&said["warnings"]),
    })
}

/// The answer of a disconnect.
pub fn of_disconnect(answer: &Answer, portals: &[Portal]) -> Value {
    if answer.said["error"].is_object() {
        return of_error(answer, portals);
    }
    json!({
        "exit": answer.code,
        "outcome": answer.said["outcome"],
        "leftovers": kinds(&answer.said["leftovers"]),
        "warns": count(&answer.said["warnings"]) > 0,
    })
}

/// An error: its kind, the paths that its causes name, what it says is left.
fn of_error(answer: &Answer, portals: &[Portal]) -> Value {
    let error = &answer.said["error"];
    let causes: Vec<&str> =
        error["causes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let named = |portal: &Portal| causes.iter().any(|cause| cause.contains(&portal.to_string()));
    let paths: Vec<usize> =
        (1..).zip(portals).filter(|(_, portal)| named(portal)).map(|(number, _)| number).collect();
    json!({
        "exit": answer.code,
        "kind": error["kind"],
        "paths named": paths,
        "leftovers": kinds(&error["leftovers"]),
    })
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// The number of the path that an object with a portal stands for.
pub fn number_of(path: &Value, portals: &[Portal]) -> String {
    let portal = path["portal"].as_str().unwrap_or_default();
    let at = portals.iter().position(|known| known.to_string() == portal);
    at.map_or_else(|| portal.to_owned(), |at| (at + 1).to_string())
}

/// What is named as left, without its name: `session 3 of …` is a session.
const KINDS: [&str; 7] = [
    "session",
    "SCSI device",
    "multipath map",
    "node record",
    "wwids entry",
    "a login",
    "bowline's own state",
];

fn kinds(leftovers: &Value) -> Vec<String> {
    let lines = leftovers.as_array().into_iter().flatten().filter_map(Value::as_str);
    let kind = |line: &str| KINDS.iter().find(|kind| line.starts_with(**kind)).map(|kind| (*kind).to_owned());
    let mut kinds: Vec<String> = lines.map(|line| kind(line).unwrap_or_else(|| line.to_owned())).collect();
    kinds.sort();
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portals() -> Vec<Portal> {
        ["10.0.1.2:3260", "10.0.2.2:3260"].map(|portal| portal.parse().unwrap()).into()
    }

    #[test]
    fn names_and_numbers_are_left_out() {
        let said = json!({
            "device_node": "/dev/mapper/mpathc", "wwid": "3600", "changed": true, "warnings": ["1 of 2 paths"],
            "paths": [{"portal": "10.0.2.2:3260", "device": "sdq", "state": "active"}],
            "failed_paths": [{"portal": "10.0.1.2:3260", "reason": "no answer"}],
        });
        let answer = Answer { code: 0, said, events: Vec::new() };
        let seen = of_connect(&answer, &portals(), "3600");
        assert_eq!(seen["paths"], json!({"1": "missing", "2": "active"}));
        assert_eq!((&seen["node"], &seen["identity"]), (&json!("map"), &json!("its own")));
    }

    #[test]
    fn an_error_tells_its_kind_and_what_it_names() {
        let said = json!({"error": {
            "kind": "leftovers", "causes": ["iqn.a:1 at 10.0.2.2:3260: no"],
            "leftovers": ["session 7 of iqn.a:1", "SCSI device sdb", "something"],
        }});
        let seen = of_disconnect(&Answer { code: 4, said, events: Vec::new() }, &portals());
        assert_eq!(seen["paths named"], json!([2]));
        assert_eq!(seen["leftovers"], json!(["SCSI device", "session", "something"]));
    }
}
