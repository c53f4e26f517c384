//! What happens while a verb runs (B10): the same events feed log, progress display and JSON.

use bowline_host::iscsi::Endpoint;
use bowline_host::names::BlockName;
use bowline_host::{Lun, MapName, Wwid};
use serde::Serialize;

/// Something that happened. Serialized with its name in `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The verb waits for another bowline process that works on the same volume or portal.
    WaitingForLock {
        /// Which lock.
        lock: String,
    },
    /// The node record of a path is being made or set.
    PathPreparing {
        /// Which path.
        endpoint: Endpoint,
    },
    /// iscsid was asked to log in.
    PathLoggingIn {
        /// Which path.
        endpoint: Endpoint,
    },
    /// The session of a path is there and logged in.
    PathLoggedIn {
        /// Which path.
        endpoint: Endpoint,
    },
    /// The LUN is being scanned for.
    PathScanning {
        /// Which path.
        endpoint: Endpoint,
        /// Which LUN.
        lun: Lun,
    },
    /// The SCSI disk of a path is there.
    DeviceAppeared {
        /// Which path.
        endpoint: Endpoint,
        /// The disk.
        device: BlockName,
    },
    /// The disk is a path of the map.
    PathJoined {
        /// Which path.
        endpoint: Endpoint,
        /// The disk.
        device: BlockName,
    },
    /// A path is given up.
    PathFailed {
        /// Which path.
        endpoint: Endpoint,
        /// Why.
        reason: String,
    },
    /// multipathd was asked for the map.
    MapRequested {
        /// Its identity.
        wwid: Wwid,
    },
    /// A block of the map, or of a disk, was read: it can be used. The map is handed out when there are paths enough.
    DeviceRead {
        /// The device.
        device: BlockName,
    },
    /// The map is there, was read from, and is handed out.
    MapReady {
        /// Its name.
        map: MapName,
        /// Its identity.
        wwid: Wwid,
        /// How many of its paths work.
        paths: usize,
    },
    /// Dirty pages are being written and the cache flushed.
    Flushing {
        /// The device.
        device: BlockName,
    },
    /// The device is flushed.
    Flushed {
        /// The device.
        device: BlockName,
    },
    /// The map is being removed.
    MapRemoving {
        /// Its name.
        map: MapName,
    },
    /// The map is gone.
    MapRemoved {
        /// Its identity.
        wwid: Wwid,
    },
    /// A SCSI disk is being deleted.
    DeviceDeleting {
        /// The disk.
        device: BlockName,
    },
    /// A SCSI disk is gone.
    DeviceGone {
        /// The disk.
        device: BlockName,
    },
    /// A session is being logged out.
    PathLoggingOut {
        /// Which path.
        endpoint: Endpoint,
    },
    /// Session and record of a path are gone.
    PathGone {
        /// Which path.
        endpoint: Endpoint,
    },
    /// A path is not used by the volume any more; its session or its record stays, for others.
    PathReleased {
        /// Which path.
        endpoint: Endpoint,
    },
    /// Something worth knowing, of the front end's own.
    Note {
        /// What.
        text: String,
    },
    /// The verb failed, or was interrupted, and undoes what it did.
    CleaningUp {
        /// Why.
        reason: String,
    },
}

/// Who is told.
pub trait Observer: Send + Sync {
    /// One event, `at` seconds after the verb began.
    fn event(&self, at: std::time::Duration, event: &Event);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _at: std::time::Duration, _event: &Event) {}
}
