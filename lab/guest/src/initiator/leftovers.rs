//! Everything on the initiator that an attach makes and a detach has to take back.
//!
//! `/run/bowline` holds locks, which are no leftovers.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::sysfs::{self, Map, ScsiDevice, Session, entries, name};
use crate::daemons;

/// Where open-iscsi keeps what it discovered, beside its records.
const DISCOVERIES: [&str; 5] = ["send_targets", "static", "isns", "slp", "fw"];
/// multipath's list of the WWIDs it has made maps for.
pub const WWIDS: &str = "/etc/multipath/wwids";
/// multipath's list of friendly names; none is a leftover, but a new host has none.
pub const BINDINGS: &str = "/etc/multipath/bindings";
/// bowline's state.
pub const STATE: &str = "/var/lib/bowline";
/// How long udev may take to see the end of what happened before we looked.
const SETTLE: Duration = Duration::from_secs(15);

/// What is there, by kind.
#[derive(Debug, Default, Serialize)]
pub struct Leftovers {
    node_records: Vec<String>,
    discovery_records: Vec<String>,
    sessions: Vec<Session>,
    scsi_devices: Vec<ScsiDevice>,
    maps: Vec<Map>,
    wwids: Vec<String>,
    dev_links: Vec<String>,
    attachments: Vec<String>,
    claims: Vec<String>,
    temporary: Vec<String>,
    processes: Vec<String>,
    connecting: Vec<String>,
}

impl Leftovers {
    /// As JSON: every kind has its key, also where there is none of it.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether the initiator is as new.
    pub fn is_nothing(&self) -> bool {
        self.to_json()
            .as_object()
            .is_some_and(|kinds| kinds.values().all(|v| v.as_array().is_some_and(Vec::is_empty)))
    }
}

/// Where open-iscsi keeps its records: Debian 12 in its configuration's folder, Debian 13 in one of its own.
fn database() -> &'static Path {
    let own = Path::new("/var/lib/iscsi");
    if own.is_dir() { own } else { Path::new("/etc/iscsi") }
}

/// The folder of the node records.
pub fn node_folder() -> PathBuf {
    database().join("nodes")
}

/// The folders of what was discovered.
pub fn discovery_folders() -> impl Iterator<Item = PathBuf> {
    DISCOVERIES.iter().map(|kind| database().join(kind))
}

/// Looks once udev has nothing under way: a link that it is about to remove is not left over.
pub fn leftovers() -> Leftovers {
    daemons::wait_while(SETTLE, || Path::new("/run/udev/queue").exists());
    // A helper ends because its bowline has: a moment after it.
    let orphaned = |found: &[String]| !found.is_empty() && found.iter().all(|one| one.starts_with(HELPER));
    daemons::wait_while(ENDING, || orphaned(&processes()));
    look()
}

/// Looks at once.
pub fn look() -> Leftovers {
    let (scsi_devices, maps) = (sysfs::scsi_devices(), sysfs::maps());
    let disks = scsi_devices.iter().map(|device| device.block.clone());
    let ours: BTreeSet<String> = disks.chain(maps.iter().map(|map| map.block.clone())).collect();
    Leftovers {
        node_records: node_records(&node_folder()),
        discovery_records: discovery_folders().flat_map(|folder| files_below(&folder)).collect(),
        sessions: sysfs::sessions(),
        dev_links: dev_links(&ours),
        scsi_devices,
        maps,
        wwids: wwids(&fs::read_to_string(WWIDS).unwrap_or_default()),
        attachments: files_below(&Path::new(STATE).join("attachments")),
        claims: files_below(&Path::new(STATE).join("claims")),
        temporary: [database(), Path::new(STATE)].into_iter().flat_map(temporary).collect(),
        processes: processes(),
        connecting: ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|file| connecting(&fs::read_to_string(file).unwrap_or_default()))
            .collect(),
    }
}

/// `IQN PORTAL` for each record; the IQN alone where only its folder is left.
fn node_records(folder: &Path) -> Vec<String> {
    let mut records = Vec::new();
    for target in entries(folder) {
        let portals = entries(&target);
        if portals.is_empty() {
            records.push(name(&target).to_owned());
        }
        records.extend(portals.iter().map(|portal| format!("{} {}", name(&target), name(portal))));
    }
    records
}

/// The paths of what lies in a folder, at any depth; symbolic links count as files.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for path in entries(folder) {
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            files.extend(files_below(&path));
        } else {
            files.push(path.display().to_string());
        }
    }
    files
}

/// Files that bowline writes before it renames them; one that stays may hold a secret.
fn temporary(folder: &Path) -> Vec<String> {
    files_below(folder).into_iter().filter(|file| name(Path::new(file)).starts_with(".bowline-")).collect()
}

/// The links that lead to one of our disks or maps, to a partition of one, or to nothing any more.
fn dev_links(ours: &BTreeSet<String>) -> Vec<String> {
    let folders = entries("/dev/disk").into_iter().chain([PathBuf::from("/dev/mapper")]);
    let links = folders.flat_map(entries).filter(|path| path.is_symlink());
    links
        .filter(|link| match fs::canonicalize(link) {
            Ok(device) => is_of(name(&device), ours),
            Err(_) => true,
        })
        .map(|link| link.display().to_string())
        .collect()
}

/// Whether a kernel name is one of these disks, or a partition of one (`sdb1`).
fn is_of(device: &str, disks: &BTreeSet<String>) -> bool {
    let whole = device.trim_end_matches(|c: char| c.is_ascii_digit());
    disks.contains(device) || (device.starts_with("sd") && disks.contains(whole))
}

/// The WWIDs in multipath's file, where each stands between slashes.
fn wwids(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.strip_prefix('/')?.strip_suffix('/')).map(str::to_owned).collect()
}

/// bowline's helper process.
const HELPER: &str = "bowline-helper";
/// One whose bowline has ended gets so long to end.
const ENDING: Duration = Duration::from_secs(1);

/// bowline's processes that still run.
fn processes() -> Vec<String> {
    let found = ["bowline", HELPER].into_iter().flat_map(|program| {
        let pids = daemons::processes(|name| name == program);
        pids.into_iter().map(move |pid| format!("{program} {}", pid.as_raw_nonzero()))
    });
    found.collect()
}

/// Connections to an iSCSI port that iscsid still tries to open, in the words of `/proc/net/tcp` and `tcp6`:
/// a login that was given up by its caller, but not by iscsid.
fn connecting(tcp: &str) -> Vec<String> {
    const SYN_SENT: &str = "02";
    let attempts = tcp.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (remote, state) = (words.get(2)?, words.get(3)?);
        let (address, port) = remote.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok().filter(|&port| port == crate::layout::PORT)?;
        (*state == SYN_SENT).then_some(())?;
        Some(SocketAddr::new(address_of(address)?, port).to_string())
    });
    attempts.collect()
}

/// The kernel prints an address as the machine's own words of 32 bits, so that their bytes are in the network's order.
fn address_of(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match digits.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Some(IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_nothing() {
        assert!(Leftovers::default().is_nothing());
        assert!(!Leftovers { wwids: vec!["3600".into()], ..Leftovers::default() }.is_nothing());
    }

    #[test]
    fn wwids_stand_between_slashes() {
        assert_eq!(wwids("# Valid WWIDs:\n/36001405/\n\n/x\n"), ["36001405"]);
    }

    #[test]
    fn partitions_belong_to_their_disk() {
        let ours = BTreeSet::from(["sdb".to_owned(), "dm-1".to_owned()]);
        assert!(is_of("sdb", &ours) && is_of("sdb1", &ours) && is_of("dm-1", &ours));
        assert!(!is_of("sda1", &ours) && !is_of("dm-11", &ours) && !is_of("vda", &ours));
    }

    #[test]
    fn only_attempts_to_connect_to_a_portal_count() {
        let tcp = "  sl  local_address rem_address   st\n\
                   0: 0101000A:9C40 0201000A:0CBC 02 0\n\
                   1: 0101000A:9C41 0201000A:0CBC 01 0\n\
                   2: 0101000A:9C42 0201000A:0050 02 0\n";
        assert_eq!(connecting(tcp), ["10.0.1.2:3260"]);
        let tcp6 = "  sl  local_address rem_address   st\n\
                   0: 000000FD010000000000000001000000:9C40 000000FD010000000000000002000000:0CBC 02 0\n";
        assert_eq!(connecting(tcp6), ["[fd00:0:0:1::2]:3260"]);
    }
}
