//! Reads connection properties from JSON. The keys are Cinder's.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{
    Addressing, Chap, Connection, ConnectionError, Endpoint, MAX_BYTES, MAX_PATHS, Wanted, WantedPath,
    each_once, too_many,
};
use bowline_host::{Iface, Iqn, Lun, NameError, Portal, Secret, Wwid};

type Result<T, E = ConnectionError> = std::result::Result<T, E>;

/// What an error names where no key of the JSON is to blame.
const WHOLE: &str = "connection";

/// open-iscsi keeps user names and secrets in arrays of 256 bytes with a final NUL (2.1.8
/// `AUTH_STR_MAX_LEN`).
const MAX_CHAP: usize = 255;

pub(super) fn read(bytes: &[u8]) -> Result<Connection> {
    let mut keys = Keys::of(document(bytes)?)?;
    let addressing = addressing(&mut keys)?;
    let iface = keys.parsed::<Iface>("iface")?.unwrap_or_default();
    let paths = paths(&mut keys, addressing, &iface)?;
    Ok(Connection {
        paths,
        chap: chap(&mut keys, "")?,
        discovery_chap: chap(&mut keys, "discovery_")?,
        wwid: keys.parsed::<Wwid>("wwid")?,
        volume: volume(&mut keys)?,
        read_only: read_only(&mut keys)?,
    })
}

/// The outermost object. A syntax error is told by its place only: what stands there may be a secret.
fn document(bytes: &[u8]) -> Result<Map<String, Value>> {
    let wrong = |problem: String| ConnectionError::new(WHOLE, problem);
    if bytes.len() > MAX_BYTES {
        return Err(wrong(format!("is larger than {MAX_BYTES} bytes; expected a JSON object")));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(wrong(format!("is {}; expected a JSON object", kind_of(&other)))),
        Err(error) => {
            let what = if error.is_eof() { "ends too early" } else { "is no valid JSON" };
            Err(wrong(format!(
                "{what} (line {}, column {}); expected a JSON object",
                error.line(),
                error.column()
            )))
        }
    }
}

/// The keys of the `data` object. They are taken out as they are read, so that a secret is moved into its
/// type and not copied.
struct Keys {
    object: Map<String, Value>,
    /// What stands before a key in an error: `data.`, or nothing.
    prefix: &'static str,
}

impl Keys {
    /// Finds the `data` object, and makes sure that it is of an iSCSI volume.
    fn of(mut outer: Map<String, Value>) -> Result<Self> {
        let is_whole = outer.contains_key("data")
            || (outer.contains_key("driver_volume_type") && !outer.contains_key("target_portal"));
        let expected = "expected \"iscsi\"";
        let key = "driver_volume_type";
        match outer.remove(key) {
            Some(Value::String(name)) if name.eq_ignore_ascii_case("iscsi") => {}
            Some(Value::String(name)) => {
                let name: String = name.chars().take(40).collect();
                return Err(ConnectionError::new(key, format!("is {name:?}; {expected}")));
            }
            Some(Value::Null) | None if !is_whole => {}
            Some(Value::Null) | None => {
                return Err(ConnectionError::new(key, format!("is missing; {expected}")));
            }
            Some(other) => {
                return Err(ConnectionError::new(key, format!("is {}; {expected}", kind_of(&other))));
            }
        }
        if !is_whole {
            return Ok(Self { object: outer, prefix: "" });
        }
        match outer.remove("data") {
            Some(Value::Object(object)) => Ok(Self { object, prefix: "data." }),
            None => Err(ConnectionError::new("data", "is missing; expected an object")),
            Some(other) => {
                Err(ConnectionError::new("data", format!("is {}; expected an object", kind_of(&other))))
            }
        }
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn wrong(&self, key: &str, problem: impl Into<String>) -> ConnectionError {
        ConnectionError::new(self.path(key), problem)
    }

    /// Takes a key out; `null` is as good as absent.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.object.remove(key).filter(|value| !value.is_null())
    }

    /// A text. Of another type, only that type is told, never the value.
    fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, format!("is {}; expected a string", kind_of(&other)))),
        }
    }

    /// A text that is an identifier.
    fn parsed<T: FromStr<Err = NameError>>(&mut self, key: &str) -> Result<Option<T>> {
        match self.text(key)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(name) => Ok(Some(name)),
                Err(error) => Err(self.wrong(key, error.to_string())),
            },
        }
    }

    /// A list; an empty one is as good as absent, as for os-brick.
    fn list<T>(
        &mut self,
        key: &str,
        item: impl Fn(&Value) -> std::result::Result<T, String>,
    ) -> Result<Option<Vec<T>>> {
        let values = match self.take(key) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(self.wrong(key, format!("is {}; expected a list", kind_of(&other)))),
        };
        if values.len() > MAX_PATHS {
            return Err(too_many(self.path(key), values.len()));
        }
        let items = values
            .iter()
            .enumerate()
            .map(|(i, value)| item(value).map_err(|problem| self.wrong(&format!("{key}[{i}]"), problem)));
        let items = items.collect::<Result<Vec<T>>>()?;
        Ok(Some(items).filter(|items| !items.is_empty()))
    }
}

/// Portals, IQNs and LUNs: where there are lists of portals and of IQNs, they are parallel and the single keys
/// do not count (they repeat one of the list); otherwise it is the single triple. One `target_lun` serves
/// every path where there is no `target_luns`. What does not count must be valid all the same.
fn paths(keys: &mut Keys, addressing: Addressing, iface: &Iface) -> Result<Vec<WantedPath>> {
    let portals = keys.list("target_portals", identifier::<Portal>)?;
    let iqns = keys.list("target_iqns", identifier::<Iqn>)?;
    let luns = keys.list("target_luns", |value| lun(value, addressing))?;
    let portal = keys.parsed::<Portal>("target_portal")?;
    let iqn = keys.parsed::<Iqn>("target_iqn")?;
    let single_lun = match keys.take("target_lun") {
        None => None,
        Some(value) => Some(lun(&value, addressing).map_err(|p| keys.wrong("target_lun", p))?),
    };
    let missing = |key: &str, expected: &str| keys.wrong(key, format!("is missing; expected {expected}"));

    let (portals, iqns, luns) = match (portals, iqns) {
        (Some(portals), Some(iqns)) => (portals, iqns, luns),
        _ => {
            let portal = portal.ok_or_else(|| missing("target_portal", "ADDRESS:PORT"))?;
            let iqn = iqn.ok_or_else(|| missing("target_iqn", "an iSCSI name"))?;
            // A list without its partners says nothing about this path.
            (vec![portal], vec![iqn], None)
        }
    };
    let one_for_all = luns.is_none();
    let luns = match (luns, single_lun) {
        (Some(luns), _) => luns,
        (None, Some(lun)) => vec![lun; portals.len()],
        (None, None) => return Err(missing("target_lun", "a whole number")),
    };
    for (key, count) in [("target_iqns", iqns.len()), ("target_luns", luns.len())] {
        if count != portals.len() {
            let problem = format!("has {count} entries; expected {}, as in target_portals", portals.len());
            return Err(keys.wrong(key, problem));
        }
    }
    let wanted =
        portals.into_iter().zip(iqns).zip(luns).enumerate().map(|(i, ((portal, iqn), lun))| Wanted {
            path: WantedPath { endpoint: Endpoint { iqn, portal, iface: iface.clone() }, lun },
            key: keys.path(&if one_for_all { "target_lun".into() } else { format!("target_luns[{i}]") }),
        });
    each_once(wanted)
}

/// A text in a list that is an identifier.
fn identifier<T: FromStr<Err = NameError>>(value: &Value) -> std::result::Result<T, String> {
    match value {
        Value::String(text) => text.parse().map_err(|error: NameError| error.to_string()),
        other => Err(format!("is {}; expected a string", kind_of(other))),
    }
}

/// A LUN, as a number or a string: drivers send both.
fn lun(value: &Value, addressing: Addressing) -> std::result::Result<Lun, String> {
    let number = match value {
        Value::Number(number) => number.as_u64().map(Lun).ok_or("is no whole number of 0 or more")?,
        Value::String(text) => text.parse().map_err(|error: NameError| error.to_string())?,
        other => return Err(format!("is {}; expected a whole number", kind_of(other))),
    };
    addressing.encode(number)
}

fn addressing(keys: &mut Keys) -> Result<Addressing> {
    let key = "addressing_mode";
    match keys.text(key)?.as_deref() {
        None | Some("" | "SAM") => Ok(Addressing::Sam),
        Some("SAM2") => Ok(Addressing::Sam2),
        Some("SAM3-flat") => Ok(Addressing::Sam3Flat),
        Some("transparent") => Ok(Addressing::Transparent),
        Some(_) => Err(keys.wrong(key, "is unknown; expected SAM, SAM2, SAM3-flat or transparent")),
    }
}

/// CHAP of the sessions (no prefix) or of discovery. User name and secret without a method mean CHAP too:
/// open-iscsi offers "CHAP, or none", so a target without CHAP is not lost by it.
fn chap(keys: &mut Keys, prefix: &str) -> Result<Option<Chap>> {
    let key = |name: &str| format!("{prefix}auth_{name}");
    let method = keys.text(&key("method"))?.unwrap_or_default();
    if !["", "none", "chap"].iter().any(|known| method.eq_ignore_ascii_case(known)) {
        return Err(keys.wrong(&key("method"), "is unknown; expected CHAP or None"));
    }
    let mut pair = |suffix: &str| -> Result<Option<(String, Secret)>> {
        let (name, secret) = (key(&format!("username{suffix}")), key(&format!("password{suffix}")));
        match (credential(keys, &name)?, credential(keys, &secret)?) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => Ok(Some((user, Secret::new(password)))),
            (Some(_), None) => {
                Err(keys.wrong(&secret, format!("is missing; expected a secret beside {name}")))
            }
            (None, Some(_)) => Err(keys.wrong(&name, format!("is missing; expected a name beside {secret}"))),
        }
    };
    let (one_way, mutual) = (pair("")?, pair("_in")?);
    match one_way {
        _ if method.eq_ignore_ascii_case("none") => Ok(None),
        Some((username, password)) => Ok(Some(Chap { username, password, mutual })),
        None if mutual.is_some() || method.eq_ignore_ascii_case("chap") => {
            Err(keys.wrong(&key("username"), "is missing; expected a name, since CHAP is asked for"))
        }
        None => Ok(None),
    }
}

/// A user name or secret, which becomes one line of a node record: a line break in it would be a setting of
/// the sender's choice, and open-iscsi drops white space at either end.
fn credential(keys: &mut Keys, key: &str) -> Result<Option<String>> {
    let Some(text) = keys.text(key)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > MAX_CHAP {
        return Err(keys.wrong(key, format!("is too long; expected at most {MAX_CHAP} bytes")));
    }
    if text.chars().any(char::is_control) || text.trim() != text {
        let problem = "has a control character, or white space at an end; expected printable text";
        return Err(keys.wrong(key, problem));
    }
    Ok(Some(text))
}

/// What people call the volume. It is shown and stored, but names nothing on the host.
fn volume(keys: &mut Keys) -> Result<Option<String>> {
    let mut found = None;
    for key in ["volume_id", "name"] {
        let Some(text) = keys.text(key)?.filter(|text| !text.is_empty()) else { continue };
        if text.len() > 255 || text.starts_with('-') || text.chars().any(char::is_control) {
            let problem = "is no name; expected at most 255 bytes, no control characters, no leading -";
            return Err(keys.wrong(key, problem));
        }
        found = found.or(Some(text));
    }
    Ok(found)
}

fn read_only(keys: &mut Keys) -> Result<bool> {
    match keys.text("access_mode")?.as_deref() {
        None | Some("" | "rw") => Ok(false),
        Some("ro") => Ok(true),
        Some(_) => Err(keys.wrong("access_mode", "is unknown; expected \"rw\" or \"ro\"")),
    }
}

/// A JSON type with its article.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
