//! Connection properties: the JSON a storage controller hands out, turned into wanted paths.

use bowline_host::iscsi::Endpoint;
use bowline_host::{Lun, Secret, Wwid};

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
    /// Whether the controller grants no writing (`access_mode` `ro`).
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
