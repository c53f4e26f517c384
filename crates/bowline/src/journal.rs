//! The journal: what bowline intends and what it has attached, on disk before the first change to the host (B4).
//!
//! One file an attachment. It holds no secret (B8).

use std::collections::{BTreeMap, BTreeSet};

use bowline_host::iscsi::Endpoint;
use bowline_host::{Host, MapName, Wwid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};

/// The version of every state file.
pub const SCHEMA: u32 = 1;
const FOLDER: &str = "attachments";

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A connect has begun. If nobody is at it any more, what it made is to be undone: nobody was given it.
    Attaching,
    /// The caller was given it.
    Attached,
    /// A disconnect has begun.
    Detaching,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attaching => "attaching",
            Self::Attached => "attached",
            Self::Detaching => "detaching",
        })
    }
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Version of this form.
    pub schema: u32,
    /// Its name in every verb.
    pub id: String,
    /// The controller's name of the volume.
    pub volume: Option<String>,
    /// How far it is.
    pub phase: Phase,
    /// Its paths.
    pub paths: Vec<WantedPath>,
    /// A map was asked for.
    pub multipath: bool,
    /// Its identity, once it was seen.
    pub wwid: Option<Wwid>,
    /// Its map, once it was handed out.
    pub map: Option<MapName>,
    /// The wwids file had the identity before us.
    pub keep_wwid: bool,
    /// Other identities that this attachment's scans have found, since the LUN was reused meanwhile; and whether the wwids file
    /// had them before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<Wwid, bool>,
    /// The map was flushed and is being removed: what is left holds no data.
    pub flushed: bool,
    /// A disconnect was told that a write is lost, and stopped. The kernel tells it once, so it is written down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost_write: bool,
    /// Endpoints whose sessions others made, and below which a connect has begun to scan for the volume.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scanned: BTreeSet<Endpoint>,
    /// A disk itself was handed out, and no map.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
    /// More than one scan for a path may be under way: one was begun where another had not ended, or the volume was handed out while
    /// paths were missing, so a finisher may have scanned for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", alias = "unfinished")]
    pub scans_again: bool,
    /// Logins that this attachment has made and that are over: what stands for the endpoint in its claim's name, and what the claim
    /// had noted of the login ([`crate::claims::Claim::login_until`]). Where it says the same still, no other was noted since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answered: BTreeMap<String, u64>,
    /// When the connect began, in seconds since 1970.
    pub begun: u64,
}

impl Attachment {
    /// What a connect intends.
    pub fn intent(id: String, paths: Vec<WantedPath>, multipath: bool, begun: u64) -> Self {
        Self {
            schema: SCHEMA,
            id,
            volume: None,
            phase: Phase::Attaching,
            paths,
            multipath,
            wwid: None,
            map: None,
            keep_wwid: false,
            beside: BTreeMap::new(),
            flushed: false,
            lost_write: false,
            bare: false,
            scans_again: false,
            scanned: BTreeSet::new(),
            answered: BTreeMap::new(),
            begun,
        }
    }

    /// Whether it is the volume that these paths lead to: one LUN of one target in common.
    pub fn is_volume_of(&self, paths: &[WantedPath]) -> bool {
        let same = |a: &WantedPath, b: &WantedPath| a.endpoint.iqn == b.endpoint.iqn && a.lun == b.lun;
        self.paths.iter().any(|own| paths.iter().any(|path| same(own, path)))
    }
}

/// The id of a volume: of its first target and LUN in order, so that it is the same for any subset of portals.
pub fn id_of(paths: &[WantedPath]) -> String {
    let first = names(paths).into_iter().next().unwrap_or_default();
    format!("bl-{}", &digest(&first)[..12])
}

/// What stands for a volume in the names of its locks: one digest a target and LUN, in order, so that two connections
/// that share a path exclude each other.
pub(crate) fn volumes(paths: &[WantedPath]) -> Vec<String> {
    names(paths).iter().map(|name| digest(name)).collect()
}

fn names(paths: &[WantedPath]) -> Vec<String> {
    let mut names: Vec<String> =
        paths.iter().map(|path| format!("{} {}", path.endpoint.iqn.folded(), path.lun)).collect();
    names.sort();
    names.dedup();
    names
}

/// 16 hexadecimal digits that stand for a text in a file's name.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// An attachment by its id.
///
/// # Errors
/// When the file cannot be read or is damaged; it is named.
pub fn load(host: &dyn Host, id: &str) -> Result<Option<Attachment>, Error> {
    let hex = id
        .strip_prefix("bl-")
        .is_some_and(|rest| rest.len() == 12 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    match hex {
        true => load_json(host, &format!("{FOLDER}/{id}.json")),
        false => Err(Error::new(ErrorKind::Input, format!("{id:?} is no attachment id"))
            .hint("an id is bl- and 12 hexadecimal digits, as `bowline inspect` shows it")),
    }
}

/// Every attachment, by id.
///
/// # Errors
/// As [`load`].
pub fn load_all(host: &dyn Host) -> Result<Vec<Attachment>, Error> {
    let names = host.list_state(FOLDER)?;
    names.iter().filter_map(|name| load_json(host, &format!("{FOLDER}/{name}")).transpose()).collect()
}

/// The attachment of the volume these paths lead to.
///
/// # Errors
/// As [`load`].
pub fn find(host: &dyn Host, paths: &[WantedPath]) -> Result<Option<Attachment>, Error> {
    // Mostly it was attached by the very same paths, and then the others need not be read.
    let same = load(host, &id_of(paths))?.filter(|attachment| attachment.is_volume_of(paths));
    match same {
        Some(attachment) => Ok(Some(attachment)),
        None => Ok(load_all(host)?.into_iter().find(|attachment| attachment.is_volume_of(paths))),
    }
}

/// Writes an attachment, durably.
///
/// # Errors
/// When it cannot be written.
pub fn store(host: &dyn Host, attachment: &Attachment) -> Result<(), Error> {
    store_json(host, &format!("{FOLDER}/{}.json", attachment.id), attachment)
}

/// Removes an attachment.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(host: &dyn Host, id: &str) -> Result<(), Error> {
    Ok(host.remove_state(&format!("{FOLDER}/{id}.json"))?)
}

pub(crate) fn load_json<T: DeserializeOwned>(host: &dyn Host, name: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = host.load_state(name)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::new(ErrorKind::Host, format!("state file {name} is damaged, so what it says is unknown"))
            .cause(error)
            .hint("look at it, and at `iscsiadm -m session -P 3`; move it away once its volume is detached")
    })
}

pub(crate) fn store_json(host: &dyn Host, name: &str, value: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot write {name}")).cause(error))?;
    Ok(host.store_state(name, &bytes)?)
}
