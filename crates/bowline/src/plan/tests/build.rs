//! A small language for what the rules look at: `World::new().logged_in(1).disk(1).map(&[1])`. Path `n` is LUN 1 of
//! one target at portal `10.0.0.n`; its session has number and SCSI host `n`, its disk is the n-th letter.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_host::dm::{Map, MapPath};
use bowline_host::iscsi::{Endpoint, NodeRecord, Session, SessionState};
use bowline_host::layers::{Kind, Layer};
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::openers::Opener;
use bowline_host::scsi::{BlockDevice, DeviceState, ScsiDevice};
use bowline_host::udev::UdevRecord;
use bowline_host::{Hctl, Iface, Lun, Moment, Portal, ScsiHost, Sid, Wwid};

use crate::claims::Claim;
use crate::connection::WantedPath;
use crate::ledger::{Ending, Ledger};
use crate::plan::attach::{Attach, Enough};
use crate::plan::detach::Detach;
use crate::plan::{Decision, Step, View, attach, detach};
use crate::policy::LoginPolicy;
use crate::topology::{Beside, DeviceView, MapView, SessionView, Topology};

/// The attachment the tests work on.
pub(super) const ID: &str = "bl-000000000001";
/// The deadline of [`attach_to`], in seconds.
pub(super) const DEADLINE: u64 = 90;

pub(super) fn wwid() -> Wwid {
    wwid_ending(1)
}

pub(super) fn wwid_ending(digit: u8) -> Wwid {
    format!("36001405b2a3f1e9c0d84d6b8f7a1c2e{digit}").parse().unwrap()
}

pub(super) fn endpoint(n: u8) -> Endpoint {
    Endpoint {
        iqn: "iqn.2026-11.net.example:volume-1".parse().unwrap(),
        portal: Portal { address: [10, 0, 0, n].into(), port: 3260 },
        iface: Iface::default(),
    }
}

pub(super) fn path(n: u8) -> WantedPath {
    WantedPath { endpoint: endpoint(n), lun: Lun(1) }
}

pub(super) fn hctl(n: u8) -> Hctl {
    Hctl { host: ScsiHost(n.into()), channel: 0, target: 0, lun: Lun(1) }
}

pub(super) fn disk(n: u8) -> BlockName {
    format!("sd{}", char::from(b'a' + n)).parse().unwrap()
}

pub(super) fn number(n: u8) -> DevNumber {
    DevNumber { major: 8, minor: 16 * u32::from(n) }
}

pub(super) const MAP_NUMBER: DevNumber = DevNumber { major: 254, minor: 3 };

/// The goal of a multipath connect over those paths.
pub(super) fn attach_to(paths: &[u8]) -> Attach {
    Attach {
        paths: paths.iter().copied().map(path).collect(),
        multipath: true,
        allow_single_device: false,
        expected: None,
        live: false,
        login: LoginPolicy::default(),
        scan_attempts: 3,
        enough: Enough::Quorum { paths: 1, grace: None },
        began: Moment::default(),
        logins_end: Moment(Duration::from_secs(DEADLINE)),
        deadline: Moment(Duration::from_secs(DEADLINE)),
    }
}

/// The goal of a single-path connect over those paths.
pub(super) fn single_to(paths: &[u8]) -> Attach {
    Attach { multipath: false, ..attach_to(paths) }
}

/// The goal of a disconnect of those paths.
pub(super) fn detach_of(paths: &[u8]) -> Detach {
    Detach { paths: paths.iter().copied().map(path).collect(), wwid: Some(wwid()), ..Detach::default() }
}

pub(super) fn prepare(n: u8) -> Step {
    Step::PrepareRecord(endpoint(n))
}
pub(super) fn login(n: u8) -> Step {
    Step::Login(endpoint(n))
}
pub(super) fn scan(n: u8) -> Step {
    Step::Scan { endpoint: endpoint(n), scsi_host: ScsiHost(n.into()), lun: Lun(1) }
}
pub(super) fn add_map() -> Step {
    Step::AddMap(wwid())
}
pub(super) fn read_map() -> Step {
    Step::VerifyRead { device: "dm-3".parse().unwrap(), number: MAP_NUMBER }
}
pub(super) fn read_disk(n: u8) -> Step {
    Step::VerifyRead { device: disk(n), number: number(n) }
}
pub(super) fn sync_map() -> Step {
    Step::Sync { device: "dm-3".parse().unwrap(), number: MAP_NUMBER }
}
pub(super) fn sync_disk(n: u8) -> Step {
    Step::Sync { device: disk(n), number: number(n) }
}
pub(super) fn remove_map() -> Step {
    Step::RemoveMap { name: "mpatha".parse().unwrap(), wwid: wwid() }
}
pub(super) fn delete(n: u8) -> Step {
    Step::DeleteDevice { hctl: hctl(n), block: Some(disk(n)) }
}
pub(super) fn release(n: u8) -> Step {
    Step::Release(endpoint(n))
}

/// A block device upon the volume.
pub(super) fn layer(name: &str, kind: Kind) -> Layer {
    let minor = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    Layer { name: name.parse().unwrap(), number: DevNumber { major: 254, minor }, kind, open_count: 0 }
}
pub(super) fn partition() -> Layer {
    layer("dm-4", Kind::PartitionMap("mpatha-part1".into()))
}
pub(super) fn logical_volume() -> Layer {
    let (group, volume) = ("vg".into(), "data".into());
    layer("dm-5", Kind::Logical { group, volume, map: "vg-data".into() })
}
pub(super) fn sync_layer(layer: &Layer) -> Step {
    Step::Sync { device: layer.name.clone(), number: layer.number }
}

/// What the rules look at, under construction.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) topology: Topology,
    pub(super) claims: BTreeMap<Endpoint, Claim>,
    pub(super) ledger: Ledger,
    pub(super) now: Moment,
}

impl World {
    /// A host with nothing of the volume, one second after its clock began.
    pub(super) fn new() -> Self {
        Self { now: Moment(Duration::from_secs(1)), ..Self::default() }
    }

    /// Time passes.
    pub(super) fn after_ms(mut self, ms: u64) -> Self {
        self.now = self.now + Duration::from_millis(ms);
        self
    }

    /// A node record that this attachment has claimed.
    pub(super) fn prepared(mut self, n: u8) -> Self {
        let path = format!("/etc/iscsi/nodes/{}/10.0.0.{n},3260", endpoint(n).iqn);
        self.topology.records.push(NodeRecord { endpoint: endpoint(n), tpgt: None, path });
        self.claimed_by(n, &[ID])
    }

    /// A claim of those attachments on a record and session that bowline made.
    pub(super) fn claimed_by(mut self, n: u8, users: &[&str]) -> Self {
        let claim = self.claims.entry(endpoint(n)).or_insert_with(|| Claim::new(endpoint(n)));
        (claim.made_record, claim.made_session, claim.prepared) = (true, true, true);
        claim.users = users.iter().map(|user| (*user).to_owned()).collect();
        self
    }

    /// A session, with its record and claim.
    pub(super) fn logged_in(self, n: u8) -> Self {
        self.prepared(n).session(n, SessionState::LoggedIn)
    }

    /// A session, and nothing else.
    pub(super) fn session(mut self, n: u8, state: SessionState) -> Self {
        let session =
            Session { sid: Sid(n.into()), scsi_host: ScsiHost(n.into()), endpoint: endpoint(n), state };
        self.topology.sessions.push(SessionView {
            session,
            devices: Vec::new(),
            going: Vec::new(),
            others: 0,
            scanning: false,
        });
        self
    }

    /// That session's state becomes another.
    pub(super) fn session_is(mut self, n: u8, state: SessionState) -> Self {
        self.session_mut(n).session.state = state;
        self
    }

    pub(super) fn session_mut(&mut self, n: u8) -> &mut SessionView {
        let of_n = |view: &&mut SessionView| view.session.endpoint == endpoint(n);
        self.topology.sessions.iter_mut().find(of_n).expect("the session was made before")
    }

    /// A disk below the session, which udev is done with.
    pub(super) fn disk(mut self, n: u8) -> Self {
        let block = BlockDevice {
            name: disk(n),
            number: number(n),
            size: 1 << 30,
            read_only: false,
            holders: Vec::new(),
            partitions: Vec::new(),
        };
        let device =
            ScsiDevice { hctl: hctl(n), state: DeviceState::Running, wwid: Some(wwid()), block: Some(block) };
        let udev = UdevRecord { initialized: true, ..UdevRecord::default() };
        self.session_mut(n).devices.push(DeviceView { device, udev: Some(udev) });
        self
    }

    /// A change to that disk.
    pub(super) fn with_disk(mut self, n: u8, change: impl FnOnce(&mut DeviceView)) -> Self {
        change(&mut self.session_mut(n).devices[0]);
        self
    }

    /// That disk is gone.
    pub(super) fn no_disk(mut self, n: u8) -> Self {
        self.session_mut(n).devices.clear();
        self
    }

    /// A disk that a scan of ours has found.
    pub(super) fn scanned(self, n: u8) -> Self {
        self.logged_in(n).disk(n).ended(scan(n), Ending::Ok)
    }

    /// A map of those disks that can be handed out, as far as looking tells; the identity is on file.
    pub(super) fn map(mut self, disks: &[u8]) -> Self {
        let paths = disks.iter().map(|n| MapPath { number: number(*n), active: true }).collect();
        let properties = [("MPATH_DEVICE_READY".to_owned(), "1".to_owned())].into();
        let udev = UdevRecord { initialized: true, properties, ..UdevRecord::default() };
        self.topology.map = Some(MapView {
            map: Map {
                name: "mpatha".parse().unwrap(),
                wwid: wwid(),
                number: MAP_NUMBER,
                open_count: 0,
                suspended: false,
                live: true,
                size: 1 << 30,
                queueing: false,
                paths,
            },
            block: None,
            udev: Some(udev),
            node: true,
            strangers: Vec::new(),
        });
        self.topology.wwid_on_file = true;
        for n in disks {
            if let Some(view) = self.topology.sessions.iter_mut().find(|s| s.session.endpoint == endpoint(*n))
            {
                let blocks = view.devices.iter_mut().filter_map(|d| d.device.block.as_mut());
                blocks.for_each(|block| block.holders = vec!["dm-3".parse().unwrap()]);
            }
        }
        self
    }

    /// The map of another identity that this attachment has brought in; the wwids file has it.
    pub(super) fn beside(mut self, map: Map) -> Self {
        self.topology.beside.insert(map.wwid.clone(), Beside { map: Some(map), on_file: true });
        self
    }

    /// Something lies upon the volume.
    pub(super) fn under(mut self, layer: Layer) -> Self {
        self.topology.layers.push(layer);
        self
    }

    /// A change to the map.
    pub(super) fn with_map(mut self, change: impl FnOnce(&mut MapView)) -> Self {
        change(self.topology.map.as_mut().expect("the map was made before"));
        self
    }

    /// The map is gone.
    pub(super) fn no_map(mut self) -> Self {
        self.topology.map = None;
        self
    }

    /// The identity is on multipath's wwids file.
    pub(super) fn on_file(mut self) -> Self {
        self.topology.wwid_on_file = true;
        self
    }

    /// A process that has the volume open.
    pub(super) fn opener(mut self, command: &str) -> Self {
        self.topology.openers.push(Opener::Process { pid: 4711, command: command.into() });
        self
    }

    /// Somebody may be in a last close of the map.
    pub(super) fn closing(mut self) -> Self {
        self.topology.closing = true;
        self
    }

    /// Somebody is, and stays there.
    pub(super) fn close_hangs(mut self) -> Self {
        self.topology.close_hangs = true;
        self.closing()
    }

    /// A program of udev's rules that has the volume open.
    pub(super) fn udev_opener(mut self) -> Self {
        self.topology.openers.push(Opener::Udev { pid: 4712, command: "blkid".into() });
        self
    }

    /// A step that was begun and ended now.
    pub(super) fn ended(mut self, step: Step, ending: Ending) -> Self {
        self.ledger.begin(step.clone(), self.now);
        self.ledger.end(&step, self.now, ending);
        self
    }

    pub(super) fn ok(self, step: Step) -> Self {
        self.ended(step, Ending::Ok)
    }

    pub(super) fn failed(self, step: Step) -> Self {
        self.ended(step, Ending::Failed("it failed".into()))
    }

    /// A step that runs.
    pub(super) fn running(mut self, step: Step) -> Self {
        self.ledger.begin(step, self.now);
        self
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            id: ID,
            topology: &self.topology,
            claims: &self.claims,
            ledger: &self.ledger,
            now: self.now,
            seed: 7,
        }
    }

    pub(super) fn attach(&self, goal: &Attach) -> Decision {
        attach::plan(goal, &self.view())
    }

    pub(super) fn detach(&self, goal: &Detach) -> Decision {
        detach::plan(goal, &self.view())
    }
}

/// The steps of a decision that must be to act.
#[track_caller]
pub(super) fn steps(decision: Decision) -> Vec<Step> {
    match decision {
        Decision::Act { steps, .. } => steps,
        other => panic!("expected steps, not {other:?}"),
    }
}

/// The error of a decision that must be a refusal.
#[track_caller]
pub(super) fn refusal(decision: Decision) -> crate::Error {
    match decision {
        Decision::Refused(error) => error,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// What a decision to act waits for, as one text.
#[track_caller]
pub(super) fn waits(decision: Decision) -> String {
    match decision {
        Decision::Act { waiting, .. } => waiting.join("; "),
        other => panic!("expected to wait, not {other:?}"),
    }
}
