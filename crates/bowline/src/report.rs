//! What a verb answers: versioned structs, from which the human text is made too. With `"schema": 1` these
//! are the JSON of the command.

use bowline_host::names::BlockName;
use bowline_host::{Iqn, Lun, MapName, Portal, Wwid};
use serde::Serialize;

/// The version of every report here.
pub const SCHEMA: u32 = 1;

/// Answer of connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connected {
    /// Version of this form.
    pub schema: u32,
    /// Names the attachment in later calls.
    pub id: String,
    /// What to open: `/dev/mapper/NAME`, or `/dev/sdX` of a single path.
    pub device_node: String,
    /// The volume's identity; null where the device did not tell it.
    pub wwid: Option<Wwid>,
    /// The map's name; null for a single path.
    pub map: Option<MapName>,
    /// Size in bytes.
    pub size: u64,
    /// The paths that are there.
    pub paths: Vec<PathReport>,
    /// The paths that were wanted and do not work: they are not there, or they are in `paths` with a state that says so.
    pub failed_paths: Vec<FailedPath>,
    /// Whether this call changed the host.
    pub changed: bool,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// Whether paths that are missing may still come: [`crate::finish`] brings them (B2).
    #[serde(skip)]
    pub unfinished: bool,
}

/// One path that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathReport {
    /// Its portal.
    pub portal: Portal,
    /// Its target.
    pub iqn: Iqn,
    /// Its LUN.
    pub lun: Lun,
    /// Its SCSI disk.
    pub device: BlockName,
    /// What it is doing.
    pub state: PathState,
}

/// State of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathState {
    /// In the map, and the kernel sends I/O over it; or the single device, which was read from.
    Active,
    /// In the map, but the kernel does not use it now.
    Failed,
    /// There, but not in the map (yet).
    NotInMap,
}

/// One path that was wanted and does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedPath {
    /// Its portal.
    pub portal: Portal,
    /// Its target.
    pub iqn: Iqn,
    /// Why.
    pub reason: String,
}

/// Answer of disconnect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disconnected {
    /// Version of this form.
    pub schema: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What may be left behind, one line each (D9).
    pub leftovers: Vec<String>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// How a disconnect ended (K1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is left, and everything that was written is on the target.
    Clean,
    /// Nothing is left, but a flush failed, now or in an earlier disconnect that stopped there, or was left out.
    DataMayBeLost,
    /// Something is left.
    Leftovers,
    /// There was nothing to do.
    Unchanged,
}
