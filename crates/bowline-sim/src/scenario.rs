//! What a seed stands for: a host, its storage, who does what, and what goes wrong.
//!
//! A scenario is data, drawn whole before anything runs. Its parts are numbered, and it can be played without some of them:
//! so a failure is shrunk, and the numbers left out are all that a replay needs beside the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bowline::{ConnectOptions, Connection, DisconnectOptions, OnDirty};
use serde_json::json;

use crate::faults::{CALLS, Fault, Strike, Trouble};
use crate::model::{FindMultipaths, Link, NoPathRetry, Setup, Storage, Target, Volume};
use crate::random::Random;

/// How volumes are exported (requirements: T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One target for each volume, at every portal.
    TargetPerVolume,
    /// One target for each portal, with every volume.
    TargetPerPortal,
    /// One target at every portal, with every volume.
    OneTarget,
}

/// Others on the same host, at the endpoints of the first volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenant {
    /// A node record with settings of its own.
    Record(usize),
    /// A session without a device.
    Session(usize),
    /// A session with a device at the first volume's LUN, of what was exported there before.
    Stale(usize),
    /// A volume of theirs, with session and device, and with its map where that forms.
    Volume(usize),
}

/// One thing that is done in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Attach the lane's volume.
    Connect(ConnectJob),
    /// Write to it, and close it again or leave it open.
    Write {
        /// So many writes.
        writes: u64,
        /// Leave it open.
        stays_open: bool,
    },
    /// The target exports it no more, for a while.
    Unexport(Duration),
    /// Whoever has it open closes it.
    Close,
    /// Let time pass.
    Pause(Duration),
    /// Look.
    Inspect,
    /// Detach it.
    Disconnect(DisconnectJob),
}

/// How a lane's volume is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectJob {
    /// A map is wanted.
    pub multipath: bool,
    /// Or else a single device will do.
    pub allow_single_device: bool,
    /// How many paths are wanted.
    pub min_paths: Option<u32>,
    /// In seconds.
    pub deadline: u64,
    /// Whether the controller says the identity.
    pub expects: bool,
}

/// How a lane's volume is detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisconnectJob {
    /// The data may be given up.
    pub force: bool,
    /// In seconds.
    pub deadline: u64,
    /// Limit of one flush, in seconds.
    pub flush: u64,
    /// By which name.
    pub by: By,
}

/// How a volume is named to a disconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Its connection.
    Connection,
    /// Its attachment's id.
    Attachment,
}

/// Who works on one volume, one thing after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which volume.
    pub volume: usize,
    /// When it begins.
    pub start: Duration,
    /// What it does.
    pub jobs: Vec<Job>,
}

/// A history to be played.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What everything was drawn from.
    pub seed: u64,
    /// The host.
    pub setup: Setup,
    /// How volumes are exported.
    pub backend: Backend,
    /// How many portals there are.
    pub portals: usize,
    /// How many volumes of ours there are; one more belongs to others.
    pub volumes: usize,
    /// A round trip, in order.
    pub delay: Duration,
    /// Targets ask for CHAP.
    pub chap: bool,
    /// Others.
    pub tenants: Vec<Tenant>,
    /// Who does what.
    pub lanes: Vec<Lane>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// The CHAP secret of every target, where one is asked for.
pub const SECRET: &str = "open-sesame-4711";

impl Scenario {
    /// What a seed stands for.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::split(seed, "scenario");
        let portals = random.pick(&[1, 2, 2, 3, 4]);
        let volumes = random.pick(&[1, 1, 1, 2]);
        let setup = setup(&mut random);
        let mut scenario = Self {
            seed,
            setup,
            backend: random.pick(&[Backend::TargetPerVolume, Backend::TargetPerPortal, Backend::OneTarget]),
            portals,
            volumes,
            delay: Duration::from_micros(random.pick(&[200, 200, 500, 10_000, 100_000])),
            chap: random.in_thousand(200),
            tenants: Vec::new(),
            lanes: Vec::new(),
            faults: Vec::new(),
        };
        if scenario.setup.old_open_iscsi {
            // Every LUN of a target comes in, wanted or not: such a host is used with a target for each volume.
            scenario.backend = Backend::TargetPerVolume;
        } else if random.in_thousand(300) {
            let portal = random.between(0, portals as u64 - 1) as usize;
            scenario.tenants.push(random.pick(&[
                Tenant::Record(portal),
                Tenant::Session(portal),
                Tenant::Stale(portal),
                Tenant::Volume(portal),
            ]));
        }
        for volume in 0..volumes {
            scenario.lanes.push(lane(&mut random, volume, portals));
        }
        if random.in_thousand(150) {
            // Another process at the first volume.
            scenario.lanes.push(lane(&mut random, 0, portals));
        }
        scenario.faults = faults(&mut Random::split(seed, "faults"), &scenario);
        scenario
    }

    /// How many parts it has that can be left out.
    pub fn parts(&self) -> usize {
        self.faults.len() + self.tenants.len() + self.lanes.iter().map(|lane| lane.jobs.len()).sum::<usize>()
    }

    /// The scenario without some of its parts: faults come first, then tenants, then jobs.
    pub fn without(&self, left_out: &BTreeSet<usize>) -> Self {
        let mut part = 0;
        let mut keep = || {
            part += 1;
            !left_out.contains(&(part - 1))
        };
        let mut scenario = self.clone();
        scenario.faults.retain(|_| keep());
        scenario.tenants.retain(|_| keep());
        scenario.lanes.iter_mut().for_each(|lane| lane.jobs.retain(|_| keep()));
        scenario
    }

    /// The links as they are in order.
    pub fn links(&self) -> Vec<Link> {
        vec![Link::new(self.delay); self.portals]
    }

    /// What is exported.
    pub fn storage(&self) -> Storage {
        let volumes = (0..=self.spare_volume(self.volumes)).map(Volume::new).collect();
        let chap = self.chap.then(|| SECRET.to_owned());
        let mut targets: BTreeMap<String, Target> = BTreeMap::new();
        let others = !self.setup.old_open_iscsi;
        for volume in (0..self.volumes).chain(others.then_some(self.foreign_volume())) {
            for portal in 0..self.portals {
                let iqn = self.iqn(volume, portal);
                let target = targets.entry(iqn.clone()).or_insert_with(|| Target {
                    iqn,
                    portals: BTreeSet::new(),
                    luns: BTreeMap::new(),
                    chap: chap.clone(),
                    chap_in: None,
                });
                target.portals.insert(portal);
                target.luns.insert(self.lun(volume), volume);
            }
        }
        Storage { volumes, targets: targets.into_values().collect() }
    }

    /// The volume that belongs to others.
    pub fn foreign_volume(&self) -> usize {
        self.volumes
    }

    /// A volume that nobody uses: what the LUN of another shows when it is reused.
    pub fn spare_volume(&self, of: usize) -> usize {
        self.volumes + 1 + of
    }

    /// The target that exports a volume at a portal. That of others is on the first volume's targets.
    pub fn iqn(&self, volume: usize, portal: usize) -> String {
        let volume = if volume == self.volumes { 0 } else { volume };
        match self.backend {
            Backend::TargetPerVolume => format!("iqn.2026-11.net.example:volume-{volume}"),
            Backend::TargetPerPortal => format!("iqn.2026-11.net.example:portal-{portal}"),
            Backend::OneTarget => "iqn.2026-11.net.example:array".to_owned(),
        }
    }

    /// Its LUN.
    pub fn lun(&self, volume: usize) -> u64 {
        volume as u64 + 1
    }

    /// Its connection, as a controller hands it out, read as the command reads it.
    pub fn connection(&self, volume: usize, expects: bool) -> Connection {
        let portals: Vec<usize> = (0..self.portals).collect();
        let address = |portal: &usize| match self.setup.ipv6 {
            true => format!("[fd00::{}]:3260", portal + 1),
            false => format!("10.0.{}.2:3260", portal + 1),
        };
        let mut data = json!({
            "target_portals": portals.iter().map(address).collect::<Vec<_>>(),
            "target_iqns": portals.iter().map(|portal| self.iqn(volume, *portal)).collect::<Vec<_>>(),
            "target_luns": vec![self.lun(volume); self.portals],
        });
        if self.chap {
            data["auth_method"] = "CHAP".into();
            data["auth_username"] = "ali".into();
            data["auth_password"] = SECRET.into();
        }
        if expects {
            data["wwid"] = Volume::new(volume).wwid().into();
        }
        Connection::from_json(data.to_string().as_bytes()).expect("what the scenario makes is well formed")
    }
}

impl ConnectJob {
    /// As the engine takes it.
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions {
            multipath: self.multipath,
            allow_single_device: self.allow_single_device,
            min_paths: self.min_paths,
            deadline: Duration::from_secs(self.deadline),
            ..ConnectOptions::default()
        }
    }
}

impl DisconnectJob {
    /// As the engine takes it.
    pub fn options(&self) -> DisconnectOptions {
        DisconnectOptions {
            on_dirty: if self.force { OnDirty::Discard } else { OnDirty::Refuse },
            deadline: Duration::from_secs(self.deadline),
            flush_timeout: Duration::from_secs(self.flush),
            ..DisconnectOptions::default()
        }
    }
}

fn setup(random: &mut Random) -> Setup {
    use FindMultipaths::{Greedy, No, Strict, Yes};
    Setup {
        find_multipaths: random.pick(&[Strict, Strict, Strict, Yes, Greedy, No]),
        friendly_names: random.in_thousand(500),
        no_path_retry: random.pick(&[
            NoPathRetry::Queue,
            NoPathRetry::Queue,
            NoPathRetry::Fail,
            NoPathRetry::Tries(4),
        ]),
        blacklisted: random.in_thousand(20),
        nodes: random.pick(&["/etc/iscsi/nodes", "/var/lib/iscsi/nodes"]),
        old_open_iscsi: random.in_thousand(30),
        ipv6: random.in_thousand(200),
        slowness: random.pick(&[1, 1, 1, 4, 10]),
    }
}

fn lane(random: &mut Random, volume: usize, portals: usize) -> Lane {
    let connect = ConnectJob {
        multipath: random.in_thousand(800),
        allow_single_device: random.in_thousand(150),
        min_paths: random.in_thousand(200).then(|| random.between(1, portals as u64) as u32),
        deadline: random.pick(&[120, 120, 60, 30]),
        expects: random.in_thousand(300),
    };
    let disconnect = DisconnectJob {
        force: random.in_thousand(250),
        deadline: random.pick(&[600, 600, 200]),
        flush: random.pick(&[120, 120, 20, 5]),
        by: random.pick(&[By::Connection, By::Connection, By::Attachment]),
    };
    let mut jobs = vec![Job::Connect(connect)];
    if random.in_thousand(150) {
        jobs.push(Job::Connect(connect));
    }
    if random.in_thousand(80) {
        jobs.push(Job::Unexport(random.any_millis(40_000)));
    }
    if random.in_thousand(650) {
        let stays_open = random.in_thousand(120);
        jobs.push(Job::Write { writes: random.between(1, 4), stays_open });
    }
    if random.in_thousand(400) {
        jobs.push(Job::Pause(random.any_millis(60_000)));
    }
    if random.in_thousand(100) {
        jobs.push(Job::Inspect);
    }
    jobs.push(Job::Disconnect(disconnect));
    if random.in_thousand(300) {
        jobs.extend([Job::Close, Job::Disconnect(disconnect)]);
    }
    if random.in_thousand(150) {
        jobs.extend([Job::Connect(connect), Job::Disconnect(disconnect)]);
    }
    Lane { volume, start: random.any_millis(20_000), jobs }
}

fn faults(random: &mut Random, scenario: &Scenario) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..random.pick(&[0, 0, 1, 1, 2]) {
        let call = random.pick(&CALLS);
        let strike = match random.between(0, 4) {
            0 if call.waits() => Strike::Hang,
            1 if call.waits() => Strike::Delay(random.any_millis(60_000)),
            0..=2 => Strike::Error,
            _ => Strike::Death,
        };
        let most = if matches!(call, crate::faults::Call::Read) { 30_000 } else { 300 };
        faults.push(Fault::AtCall(call, 1 + random.any_size(most) as u32, strike));
    }
    for _ in 0..random.pick(&[0, 1, 1, 2, 3]) {
        let at = random.any_millis(60_000);
        let trouble = trouble(random, scenario);
        if in_scope(&trouble, scenario) {
            faults.push(Fault::AtTime(at, trouble));
        }
    }
    faults
}

/// A session that stays for a device which somebody else has scanned for is nobody's once that is gone: by design, and
/// nothing to be found anew each time.
fn in_scope(trouble: &Trouble, scenario: &Scenario) -> bool {
    match trouble {
        Trouble::ForeignScan(_) => scenario.backend == Backend::TargetPerVolume,
        Trouble::ForeignVolume(volume) => *volume == 0 && !scenario.setup.old_open_iscsi,
        _ => true,
    }
}

fn trouble(random: &mut Random, scenario: &Scenario) -> Trouble {
    let last = scenario.portals as u64 - 1;
    let mut some: BTreeSet<usize> = (0..scenario.portals).filter(|_| random.in_thousand(500)).collect();
    if some.is_empty() {
        some.insert(random.between(0, last) as usize);
    }
    let lasts = random.any_millis(300_000);
    let volume = random.between(0, scenario.volumes as u64 - 1) as usize;
    let lane = random.between(0, scenario.lanes.len() as u64 - 1) as usize;
    match random.between(0, 19) {
        0 => Trouble::BlackHole(some, lasts),
        1 => Trouble::Reject(some, lasts),
        2 => Trouble::Silent(some, lasts),
        3 => Trouble::Loss(some, random.pick(&[100, 200, 300, 500]), lasts),
        4 => Trouble::Slow(some, random.any_millis(1_000), lasts),
        5 => Trouble::Reset(some),
        6 => Trouble::IscsidDies(random.any_millis(60_000)),
        7 => Trouble::IscsidFreezes(lasts),
        8 => Trouble::MultipathdDies(random.any_millis(60_000)),
        9 => Trouble::MultipathdFreezes(random.any_millis(60_000)),
        10 => Trouble::MultipathdBusy(random.any_millis(10_000), lasts),
        11 => Trouble::UdevBusy(random.any_millis(20_000), lasts),
        12 => Trouble::EventsLost,
        13 => Trouble::Unmapped(volume, lasts),
        14 => Trouble::Reused(volume, scenario.spare_volume(volume), lasts),
        15 => Trouble::ForeignScan(volume),
        16 => Trouble::Signal(lane),
        17 => Trouble::Killed(lane),
        18 => Trouble::ForeignVolume(volume),
        _ => Trouble::StaleDatabaseLock(random.any_millis(60_000)),
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.setup)?;
        writeln!(
            f,
            "{:?}, {} portals, {} volumes, round trip {:?}, CHAP {}",
            self.backend, self.portals, self.volumes, self.delay, self.chap
        )?;
        let mut part = 0;
        let mut number = || {
            part += 1;
            part - 1
        };
        for fault in &self.faults {
            writeln!(f, "{:>4}  {fault}", number())?;
        }
        for tenant in &self.tenants {
            writeln!(f, "{:>4}  others: {tenant:?}", number())?;
        }
        for (at, lane) in self.lanes.iter().enumerate() {
            writeln!(f, "      lane {at}, volume {}, from {:?}", lane.volume, lane.start)?;
            for job in &lane.jobs {
                writeln!(f, "{:>4}    {job:?}", number())?;
            }
        }
        Ok(())
    }
}
