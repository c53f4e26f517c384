//! Connection properties: what a storage controller hands out (or a person types), turned into wanted paths.
//!
//! This is the border where foreign text comes in. Everything behind it works with validated types only, so
//! each rule that refuses input stands here or in `connection/json.rs`, which reads the JSON. An error names
//! the key and what was expected; it never shows the value of a key that may hold a secret (B8).

mod json;

use std::collections::BTreeMap;

use bowline_host::iscsi::Endpoint;
use bowline_host::{Iface, Iqn, Lun, Portal, Secret, Wwid};

/// Largest connection that is read, in bytes: a real one has a few thousand.
pub const MAX_BYTES: usize = 1 << 20;

/// Most paths of one connection, counted before duplicates are dropped: real arrays offer up to 32.
pub const MAX_PATHS: usize = 256;

/// One path that is wanted: a LUN behind an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct WantedPath {
    /// Target, portal, interface.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// LUN, as Linux shows it (addressing mode applied).
    pub lun: Lun,
}

/// CHAP of a volume's sessions. Never serialized.
#[derive(Debug, Clone)]
pub struct Chap {
    /// `node.session.auth.username`
    pub username: String,
    /// `node.session.auth.password`
    pub password: Secret,
    /// For mutual CHAP: `username_in` and `password_in`.
    pub mutual: Option<(String, Secret)>,
}

/// A volume as the controller hands it out.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Every path, each once, in the controller's order. At least one.
    pub paths: Vec<WantedPath>,
    /// CHAP of the sessions.
    pub chap: Option<Chap>,
    /// CHAP of discovery.
    pub discovery_chap: Option<Chap>,
    /// The identity the controller says the volume has, where it does.
    pub wwid: Option<Wwid>,
    /// The controller's name of the volume, for people.
    pub volume: Option<String>,
    /// Whether the controller grants no writing (`access_mode` `ro`). The host is not told: it is the target that
    /// refuses writes, and the caller who hands the device on.
    pub read_only: bool,
}

/// What is wrong with connection properties: the key, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConnectionError {
    /// The key, as a path: `data.target_portals[1]`.
    pub key: String,
    /// What is wrong with it, and what was expected.
    pub problem: String,
}

impl ConnectionError {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

/// How the array encodes a LUN in the eight bytes on the wire. A host cannot find out; the controller says it
/// in `addressing_mode`, and without it the number is taken as it is. The mapping is the one of os-brick, so
/// that both find the same device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// `SAM`: the number itself. Above 255 it is beyond the peripheral method, but common on the wire.
    #[default]
    Sam,
    /// `SAM2`: peripheral below 256, flat space from there on.
    Sam2,
    /// `SAM3-flat`: always flat space.
    Sam3Flat,
    /// `transparent`: the controller has encoded the number already.
    Transparent,
}

impl Addressing {
    /// Method code 01b in the two top bits of the first 16: flat space.
    const FLAT: u64 = 1 << 14;

    /// The LUN as Linux shows it. A number has 14 bits (SAM-3, flat space and peripheral), save where the
    /// controller encoded it; all ones is refused even then, since a scan takes that for "every LUN"
    /// (Linux 6.1 `SCAN_WILD_CARD`), which C12 forbids.
    pub fn encode(self, number: Lun) -> Result<Lun, String> {
        let limit = if self == Self::Transparent { u64::MAX - 1 } else { Self::FLAT - 1 };
        if number.0 > limit {
            let way_out = match self {
                Self::Transparent => "",
                _ => " (a LUN that the array encoded itself needs addressing_mode \"transparent\")",
            };
            return Err(format!("LUN {number} is too large; expected 0 to {limit}{way_out}"));
        }
        let flat = match self {
            Self::Sam | Self::Transparent => false,
            Self::Sam2 => number.0 > 255,
            Self::Sam3Flat => true,
        };
        Ok(Lun(if flat { number.0 | Self::FLAT } else { number.0 }))
    }
}

impl Connection {
    /// Reads the JSON of a controller: Cinder's `data` object, or the whole with `driver_volume_type`.
    ///
    /// Unknown keys are ignored, `null` is as good as absent, and of a key given twice the last counts.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConnectionError> {
        json::read(bytes)
    }

    /// A connection from its parts, as they are typed by a person: as many IQNs as portals (each portal has
    /// its own), or one IQN for all portals, or one portal for all IQNs. The errors name `portal`, `iqn` or
    /// `lun`.
    pub fn from_parts(portals: &[Portal], iqns: &[Iqn], lun: Lun) -> Result<Self, ConnectionError> {
        for (key, count) in [("portal", portals.len()), ("iqn", iqns.len())] {
            match count {
                0 => return Err(ConnectionError::new(key, "is missing; expected at least one")),
                n if n > MAX_PATHS => return Err(too_many(key, n)),
                _ => {}
            }
        }
        let lun = Addressing::Sam.encode(lun).map_err(|problem| ConnectionError::new("lun", problem))?;
        let count = portals.len().max(iqns.len());
        if [portals.len(), iqns.len()].iter().any(|n| *n != 1 && *n != count) {
            return Err(ConnectionError::new(
                "iqn",
                format!(
                    "{} IQNs for {} portals; expected one for all, or one for each in the same order",
                    iqns.len(),
                    portals.len()
                ),
            ));
        }
        let wanted = (0..count).map(|i| Wanted {
            path: WantedPath {
                endpoint: Endpoint {
                    iqn: iqns[i.min(iqns.len() - 1)].clone(),
                    portal: portals[i.min(portals.len() - 1)],
                    iface: Iface::default(),
                },
                lun,
            },
            key: "lun".into(),
        });
        Ok(Self {
            paths: each_once(wanted)?,
            chap: None,
            discovery_chap: None,
            wwid: None,
            volume: None,
            read_only: false,
        })
    }
}

/// A path, and the key to blame where its LUN contradicts another.
struct Wanted {
    path: WantedPath,
    key: String,
}

/// Every path once, in the order given. Portals and IQNs are compared in normal form, so that letter case, a
/// portal group tag or the spelling of an IPv6 address makes no second path. One endpoint with two LUNs would
/// be two volumes, or one volume whose second LUN is stale: nobody can tell, so it is refused.
fn each_once(wanted: impl IntoIterator<Item = Wanted>) -> Result<Vec<WantedPath>, ConnectionError> {
    let mut seen: BTreeMap<Endpoint, Lun> = BTreeMap::new();
    let mut paths = Vec::new();
    for Wanted { path, key } in wanted {
        match seen.insert(path.endpoint.clone(), path.lun) {
            None => paths.push(path),
            Some(lun) if lun == path.lun => {}
            Some(lun) => {
                let problem = format!(
                    "LUN {} for {}, which has LUN {lun} already; expected one LUN for each portal and IQN",
                    path.lun, path.endpoint
                );
                return Err(ConnectionError::new(key, problem));
            }
        }
    }
    Ok(paths)
}

fn too_many(key: impl Into<String>, count: usize) -> ConnectionError {
    ConnectionError::new(key, format!("has {count} entries; expected at most {MAX_PATHS}"))
}
