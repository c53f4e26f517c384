//! What the host looks like now, as far as one volume goes: node records, sessions, SCSI devices, the map.
//!
//! Observing is a handful of small reads that cannot block. It starts from what the volume is made of
//! (endpoints and LUN) and follows the kernel's own links: session to SCSI host, host and LUN to device, device
//! to holders, holder to map, confirmed by the device-mapper UUID (C8). Nothing is found through /dev (D12).

mod observe;

use std::collections::{BTreeMap, BTreeSet};

use bowline_host::dm::Map;
use bowline_host::iscsi::{Endpoint, NodeRecord, Session, SessionState, TornSession};
use bowline_host::layers::{Kind, Layer};
use bowline_host::names::DevNumber;
use bowline_host::openers::Opener;
use bowline_host::scsi::{BlockDevice, DeviceState, ScsiDevice};
use bowline_host::udev::UdevRecord;
use bowline_host::{Hctl, Host, Lun, Wwid, lingering};

pub use self::observe::observe;

use crate::connection::WantedPath;
use crate::error::Error;
use crate::journal::Attachment;

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The volume's paths.
    pub paths: Vec<WantedPath>,
    /// Endpoints below which a device proves nothing: it was there before, and sysfs remembers what it was then (B3). It
    /// tells no identity, and its map is not the volume's.
    pub unproven: BTreeSet<Endpoint>,
    /// The volume's identity, where it is known: its map is then looked for even when no device is left.
    pub wwid: Option<Wwid>,
    /// Other identities that this attachment has brought in: what is left of them is looked for by them.
    pub beside: BTreeSet<Wwid>,
    /// Whether to look for who has the volume open.
    pub openers: Openers,
    /// A disk itself was handed out: who has it open counts also where a map has been made upon it since.
    pub bare: bool,
}

impl Scope {
    /// An attachment as it is written down, to be looked at only.
    pub fn of(attachment: &Attachment) -> Self {
        Self {
            paths: attachment.paths.clone(),
            unproven: BTreeSet::new(),
            wwid: attachment.wwid.clone(),
            beside: BTreeSet::new(),
            openers: Openers::Unasked,
            bare: attachment.bare,
        }
    }
}

/// How far to look for who has the volume open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Openers {
    /// Not at all.
    Unasked,
    /// Those of the map, and of what is stacked upon the disks: for a detach that has begun to remove the map. Before, it
    /// has asked for all.
    OfMap,
    /// All of /proc is read, so only a detach asks for it.
    Everywhere,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Node records of the volume's targets.
    pub records: Vec<NodeRecord>,
    /// Sessions of the volume's targets.
    pub sessions: Vec<SessionView>,
    /// Those of them whose connection has gone, through whatever portal they were.
    pub torn: Vec<TornSession>,
    /// The volume's map.
    pub map: Option<MapView>,
    /// Multipath maps that hold a device of this volume and carry another identity.
    pub foreign_maps: Vec<Map>,
    /// What there is of the identities [`Scope::beside`] the volume's own.
    pub beside: BTreeMap<Wwid, Beside>,
    /// What lies upon the map or, where there is none, upon the volume's disks.
    pub layers: Vec<Layer>,
    /// Whether multipath's wwids file has the volume's identity.
    pub wwid_on_file: bool,
    /// Who has the map or, where there is none, a device of the volume open. Empty unless asked for.
    pub openers: Vec<Opener>,
    /// Whether somebody may be in a last close of the map, and write back. False unless openers were asked for.
    pub closing: bool,
    /// Whether somebody was in a last close of it for as long as the look took.
    pub close_hangs: bool,
}

/// What there is of another identity that this attachment has brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its map, with those of its paths that still exist.
    pub map: Option<Map>,
    /// Whether it is on multipath's wwids file.
    pub on_file: bool,
}

/// A session and what hangs below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The session.
    pub session: Session,
    /// The volume's SCSI devices below it.
    pub devices: Vec<DeviceView>,
    /// Where disks of the volume are on their way out: their SCSI devices do not show any more.
    pub going: Vec<Hctl>,
    /// How many other SCSI devices there are below it.
    pub others: usize,
    /// Whether a scan below it is still under way that no step of this process waits for. Looked for only where a detach
    /// would not know otherwise.
    pub scanning: bool,
}

/// A SCSI device, and what udev knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// The device.
    pub device: ScsiDevice,
    /// udev's record, once there is one.
    pub udev: Option<UdevRecord>,
}

/// The volume's map, and what udev knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapView {
    /// The map.
    pub map: Map,
    /// As sysfs shows it: size, holders. `None` while it comes or goes.
    pub block: Option<BlockDevice>,
    /// udev's record, once there is one.
    pub udev: Option<UdevRecord>,
    /// Whether `/dev/mapper/NAME` leads to this map.
    pub node: bool,
    /// Paths that exist and are no device of this connection. (A path whose device is gone stays in the table until
    /// multipathd hears of it.)
    pub strangers: Vec<DevNumber>,
}

impl Topology {
    /// The session made from an endpoint, the usable one first if there are several.
    pub fn session(&self, endpoint: &Endpoint) -> Option<&SessionView> {
        let of_endpoint = || self.sessions.iter().filter(|view| view.session.endpoint == *endpoint);
        of_endpoint()
            .find(|view| view.session.state == SessionState::LoggedIn)
            .or_else(|| of_endpoint().next())
    }

    /// The record of an endpoint.
    pub fn record(&self, endpoint: &Endpoint) -> Option<&NodeRecord> {
        self.records.iter().find(|record| record.endpoint == *endpoint)
    }

    /// The device of a wanted path.
    pub fn device(&self, path: &WantedPath) -> Option<&DeviceView> {
        self.session(&path.endpoint)?.device(path.lun)
    }

    /// Every device of the volume, also below a second session of the same endpoint.
    pub fn devices_of<'a>(&'a self, paths: &'a [WantedPath]) -> impl Iterator<Item = &'a DeviceView> {
        self.sessions.iter().flat_map(move |view| {
            let wanted = paths.iter().filter(|path| path.endpoint == view.session.endpoint);
            wanted.filter_map(|path| view.device(path.lun))
        })
    }

    /// The volume's devices that were looked for and hang below none of these paths' endpoints.
    pub fn devices_elsewhere<'a>(&'a self, paths: &'a [WantedPath]) -> impl Iterator<Item = &'a DeviceView> {
        let elsewhere = |view: &&SessionView| paths.iter().all(|path| path.endpoint != view.session.endpoint);
        self.sessions.iter().filter(elsewhere).flat_map(|view| &view.devices)
    }

    /// Whether a device at the volume's LUN is another volume's, in a map of its own: the LUN was reused, and whoever uses the
    /// other volume still does. Only where the volume's identity is known, and the device tells another.
    pub fn is_strangers(&self, device: &DeviceView, wwid: Option<&Wwid>) -> bool {
        let holds = |map: &Map| {
            Some(&map.wwid) == device.device.wwid.as_ref()
                && device.block().is_some_and(|block| map.has(block.number))
        };
        device.tells_another(wwid) && self.foreign_maps.iter().any(holds)
    }

    /// Whether a map that is open so many times, or a partition of it, is open more often than anybody was found to have it open.
    /// Each partition's map has it open once.
    fn is_open_unseen(&self, opens: u32) -> bool {
        let parts = self.layers.iter().filter(|layer| matches!(layer.kind, Kind::PartitionMap(_))).count();
        let upon: u32 = self.layers.iter().map(|layer| layer.open_count).sum();
        (opens + upon) as usize > self.openers.len() + parts
    }

    /// Whether what a path below /sys/devices leads to is one of the volume's disks on its way out.
    fn goes(&self, place: &str) -> bool {
        Hctl::in_path(place)
            .is_some_and(|hctl| self.sessions.iter().any(|session| session.going.contains(&hctl)))
    }

    /// Looks for scans that go on below sessions without a device of the volume although whoever began them is gone; not
    /// below those that are `known` to have none.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub(crate) fn find_scans(
        &mut self,
        host: &dyn Host,
        known: impl Fn(&Session) -> bool,
    ) -> Result<(), Error> {
        for view in &mut self.sessions {
            if view.devices.is_empty() && !known(&view.session) {
                view.scanning = lingering::scan_running(host, view.session.scsi_host)?;
            }
        }
        Ok(())
    }
}

impl SessionView {
    /// The device with that LUN.
    pub fn device(&self, lun: Lun) -> Option<&DeviceView> {
        self.devices.iter().find(|view| view.device.hctl.lun == lun)
    }

    /// Whether it is logged in.
    pub fn usable(&self) -> bool {
        self.session.state == SessionState::LoggedIn
    }
}

impl DeviceView {
    /// Whether it tells an identity, and another than that one. Only where that one is known.
    pub fn tells_another(&self, wwid: Option<&Wwid>) -> bool {
        matches!((wwid, &self.device.wwid), (Some(own), Some(told)) if own != told)
    }

    /// Whether the kernel has given it up: it cannot be opened.
    pub fn given_up(&self) -> bool {
        self.device.state == DeviceState::Offline
    }

    /// Its block device's name and number.
    pub fn block(&self) -> Option<&BlockDevice> {
        self.device.block.as_ref()
    }

    /// Whether udev's rules have run for its first event.
    pub fn udev_done(&self) -> bool {
        self.udev.as_ref().is_some_and(|record| record.initialized)
    }

    /// Whether udev says that multipath claims the device (60-multipath.rules).
    pub fn claimed_by_multipath(&self) -> bool {
        self.property("DM_MULTIPATH_DEVICE_PATH") == Some("1")
    }

    /// Whether that is a wait and see: `find_multipaths smart` claims every disk until a second path has had time to
    /// come, and notes until when (multipath-tools 0.9.4 `multipath/main.c` `print_cmd_valid`).
    pub fn claimed_for_now(&self) -> bool {
        self.claimed_by_multipath()
            && self.property("FIND_MULTIPATHS_WAIT_UNTIL").is_some_and(|until| until != "0")
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.udev.as_ref()?.properties.get(name).map(String::as_str)
    }
}

impl MapView {
    /// Whether a disk is among its paths.
    pub fn has(&self, number: DevNumber) -> bool {
        self.map.has(number)
    }

    /// Whether a disk is among its paths and used by the kernel now.
    pub fn is_active(&self, number: DevNumber) -> bool {
        self.map.paths.iter().any(|path| path.number == number && path.active)
    }

    /// Whether it can be handed out, as far as looking tells: a live table, not suspended, a path in use,
    /// udev done with it, and its node in place. One read from it is still owed.
    pub fn ready(&self) -> bool {
        let udev = |key: &str| {
            self.udev.as_ref().filter(|record| record.initialized).and_then(|r| r.properties.get(key))
        };
        self.map.live
            && !self.map.suspended
            && self.node
            && self.map.paths.iter().any(|path| path.active)
            && udev("DM_SUSPENDED").is_none_or(|value| value != "1")
            && udev("MPATH_DEVICE_READY").is_some_and(|value| value == "1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bowline_host::{Iface, Portal, ScsiHost, Sid};

    /// D4: only by its place is a disk on its way out known as the volume's, and others' as theirs.
    #[test]
    fn d4_a_disk_that_is_going_is_known_by_its_place() {
        let endpoint = Endpoint {
            iqn: "iqn.2026-11.net.example:array".parse().unwrap(),
            portal: Portal { address: [10, 0, 0, 1].into(), port: 3260 },
            iface: Iface::default(),
        };
        let state = SessionState::LoggedIn;
        let session = Session { sid: Sid(1), scsi_host: ScsiHost(2), endpoint: endpoint.clone(), state };
        let going = vec![Hctl { host: ScsiHost(2), channel: 0, target: 0, lun: Lun(1) }];
        let view = SessionView { session, devices: Vec::new(), going, others: 0, scanning: false };
        let topology = Topology { sessions: vec![view], ..Topology::default() };
        let goes = |address: &str| {
            topology.goes(&format!("../../devices/platform/host2/session1/target2:0:0/{address}/block/sdb"))
        };
        assert!(goes("2:0:0:1"));
        assert!(!goes("2:0:0:2"), "another volume of the target");
        assert!(!goes("3:0:0:1"), "below another session");
        assert!(!topology.goes("../../devices/virtual/block/dm-0"));
    }

    /// D7: partitions' maps have the map open, and nobody's last close is in that.
    #[test]
    fn d7_a_partition_is_not_taken_for_a_last_close() {
        let partition = |open_count| Layer {
            name: "dm-1".parse().unwrap(),
            number: DevNumber { major: 254, minor: 1 },
            kind: Kind::PartitionMap("mpatha-part1".into()),
            open_count,
        };
        let unseen = |layers: Vec<Layer>, openers: &[&str], opens| {
            let openers = openers.iter().map(|name| Opener::Process { pid: 7, command: (*name).into() });
            Topology { layers, openers: openers.collect(), ..Topology::default() }.is_open_unseen(opens)
        };
        assert!(!unseen(Vec::new(), &[], 0) && unseen(Vec::new(), &[], 1));
        assert!(!unseen(Vec::new(), &["dd"], 1) && unseen(Vec::new(), &["dd"], 2));
        assert!(!unseen(vec![partition(0)], &[], 1) && unseen(vec![partition(1)], &[], 1));
        assert!(!unseen(vec![partition(1)], &["dd"], 1));
    }
}
