//! Sessions, SCSI devices and maps as sysfs shows them: no program is asked, none has to be right.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// An iSCSI session, whatever its state.
#[derive(Debug, Serialize)]
pub struct Session {
    /// Its number.
    pub sid: u32,
    /// LOGGED_IN, FAILED or FREE.
    pub state: String,
    /// The target's name.
    pub iqn: String,
    /// The portal, `address:port`; empty while there is no connection.
    pub portal: String,
}

/// A SCSI device behind an iSCSI session.
#[derive(Debug, Serialize)]
pub struct ScsiDevice {
    /// Host, channel, target and LUN.
    pub hctl: String,
    /// The kernel's name of the disk; empty if it has none (yet).
    pub block: String,
    /// Its state.
    pub state: String,
}

/// A device-mapper device: multipath's map, a partition of one, a logical volume. The guest has no other.
#[derive(Debug, Serialize)]
pub struct Map {
    /// The map's name.
    pub name: String,
    /// device-mapper's UUID: `mpath-WWID`, `part1-mpath-WWID`, `LVM-…`.
    pub uuid: String,
    /// The kernel's name, `dm-N`.
    pub block: String,
    /// Whether another device lies upon it.
    #[serde(skip)]
    pub held: bool,
}

/// Every session.
pub fn sessions() -> Vec<Session> {
    entries("/sys/class/iscsi_session").into_iter().filter_map(|path| session(&path)).collect()
}

fn session(path: &Path) -> Option<Session> {
    let sid = name(path).strip_prefix("session")?.parse().ok()?;
    let connection = PathBuf::from(format!("/sys/class/iscsi_connection/connection{sid}:0"));
    let address = read(&connection.join("persistent_address"));
    let port = read(&connection.join("persistent_port"));
    let portal = match address.as_str() {
        "" => address,
        v6 if v6.contains(':') => format!("[{v6}]:{port}"),
        _ => format!("{address}:{port}"),
    };
    Some(Session { sid, state: read(&path.join("state")), iqn: read(&path.join("targetname")), portal })
}

/// Every SCSI device that hangs below a session.
pub fn scsi_devices() -> Vec<ScsiDevice> {
    let devices = entries("/sys/bus/scsi/devices").into_iter();
    let below_session = |path: &PathBuf| {
        let real = fs::canonicalize(path).unwrap_or_default();
        is_hctl(name(path)) && real.components().any(|part| is_session(&part.as_os_str().to_string_lossy()))
    };
    devices
        .filter(below_session)
        .map(|path| ScsiDevice {
            hctl: name(&path).to_owned(),
            block: entries(path.join("block"))
                .first()
                .map(|block| name(block).to_owned())
                .unwrap_or_default(),
            state: read(&path.join("state")),
        })
        .collect()
}

/// Every device-mapper device.
pub fn maps() -> Vec<Map> {
    entries("/sys/block")
        .into_iter()
        .filter(|path| name(path).starts_with("dm-"))
        .map(|path| Map {
            name: read(&path.join("dm/name")),
            uuid: read(&path.join("dm/uuid")),
            block: name(&path).to_owned(),
            held: !entries(path.join("holders")).is_empty(),
        })
        .collect()
}

/// A folder's entries, sorted; none where there is no folder.
pub fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The last part of a path.
pub fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// A small file's text; empty where it went away meanwhile.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// `2:0:0:1`, but not `host2` or `target2:0:0`.
fn is_hctl(name: &str) -> bool {
    let parts: Vec<&str> = name.split(':').collect();
    parts.len() == 4 && parts.iter().all(|part| part.parse::<u64>().is_ok())
}

/// `session3`.
fn is_session(name: &str) -> bool {
    name.strip_prefix("session").is_some_and(|sid| sid.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_and_sessions() {
        assert!(is_hctl("2:0:0:1"));
        assert!(!is_hctl("target2:0:0") && !is_hctl("host2") && !is_hctl("2:0:0"));
        assert!(is_session("session12"));
        assert!(!is_session("session") && !is_session("sessions1"));
    }
}
