//! The simulated host as a stage: what a step says is done to the world.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bowline_conformance::action::{Action, Connect, Daemon, Disconnect, Multipath, PORTALS, Power};
use bowline_conformance::case::Family;
use bowline_conformance::{Answer, Case, Stage};
use bowline_host::Host;
use serde_json::{Value, json};

use super::target;
use crate::executor::{Sim, Spawner};
use crate::host::SimHost;
use crate::model::{
    self, FindMultipaths, Link, Mode, NoPathRetry, Setup, Use, Volume, World, kill_iscsid, start_iscsid,
    start_multipathd,
};

/// A round trip inside the laboratory's guest.
const ROUND_TRIP: Duration = Duration::from_micros(500);

/// A simulated host on which a case is played.
pub struct SimStage {
    pub(super) sim: Sim,
    pub(super) spawner: Spawner,
    case: Case,
    /// Whoever looks.
    host: SimHost,
    /// How many bring missing paths.
    pub(super) finishers: Rc<Cell<usize>>,
    /// Who has something open, or is closing it.
    pub(super) uses: Vec<Use>,
    /// What was written to each volume.
    pub(super) written: BTreeMap<u64, BTreeSet<u64>>,
}

/// The laboratory's guest: Debian 12, multipath as it comes.
pub fn setup(case: &Case) -> Setup {
    Setup {
        find_multipaths: FindMultipaths::Strict,
        friendly_names: false,
        // multipath-tools' entry for LIO (libmultipath/hwtable.c): 12.
        no_path_retry: NoPathRetry::Tries(12),
        blacklisted: false,
        nodes: "/etc/iscsi/nodes",
        old_open_iscsi: false,
        ipv6: case.family == Family::Ipv6,
        slowness: 4,
    }
}

/// The network in order.
pub fn links() -> Vec<Link> {
    vec![Link::new(ROUND_TRIP); PORTALS]
}

impl SimStage {
    /// At the beginning.
    pub fn new(sim: &Sim, spawner: &Spawner, case: &Case) -> Self {
        Self {
            sim: sim.clone(),
            spawner: spawner.clone(),
            case: case.clone(),
            host: SimHost::start(sim),
            finishers: Rc::default(),
            uses: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    fn links(&self, portals: &[usize], change: impl Fn(&mut Link)) {
        self.sim.with(|world| portals.iter().for_each(|portal| world.set_link(portal - 1, &change)));
    }

    fn configure(&self, setting: Multipath) {
        self.sim.with(|world| {
            let setup = &mut world.setup;
            match setting {
                Multipath::FindYes => setup.find_multipaths = FindMultipaths::Yes,
                Multipath::FindNo => setup.find_multipaths = FindMultipaths::No,
                Multipath::FindGreedy => setup.find_multipaths = FindMultipaths::Greedy,
                Multipath::FriendlyNames => setup.friendly_names = true,
                Multipath::Blacklist => setup.blacklisted = true,
                Multipath::Default => {
                    setup.find_multipaths = FindMultipaths::Strict;
                    (setup.friendly_names, setup.blacklisted) = (false, false);
                }
            }
        });
        self.daemon(Daemon::Multipathd, Power::Stop);
        self.daemon(Daemon::Multipathd, Power::Start);
    }

    fn daemon(&self, daemon: Daemon, power: Power) {
        match (daemon, power) {
            (Daemon::Iscsid, Power::Stop) => kill_iscsid(&self.sim),
            (Daemon::Iscsid, Power::Start) => start_iscsid(&self.sim),
            (Daemon::Multipathd, Power::Stop) => self.sim.with(|world| {
                world.multipathd.power = model::Power::Dead;
                world.touch();
            }),
            (Daemon::Multipathd, Power::Start) => start_multipathd(&self.sim),
        }
    }
}

impl Stage for SimStage {
    fn host(&self) -> &dyn Host {
        &self.host
    }

    fn connection(&self, volume: u64) -> Result<Value, String> {
        Ok(self.sim.with(|world| target::connection(world, &self.case, volume)))
    }

    fn wwid(&self, volume: u64) -> String {
        Volume::new(volume as usize).wwid()
    }

    async fn connect(&mut self, connection: &Value, how: &Connect) -> Result<Answer, String> {
        self.attach(connection, how).await
    }

    async fn disconnect(&mut self, connection: &Value, how: &Disconnect) -> Result<Answer, String> {
        self.detach(connection, how).await
    }

    async fn write(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        self.write_through(node, volume).await
    }

    async fn verify(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        self.read_back(node, volume).await
    }

    async fn open(&mut self, node: &str) -> Result<(), String> {
        let used = model::begin_use(&self.sim, node, 0).ok_or_else(|| format!("{node} is not there"))?;
        self.uses.push(used);
        Ok(())
    }

    async fn write_cached(&mut self, node: &str) -> Result<(), String> {
        self.write_and_close(node)
    }

    async fn close(&mut self) -> Result<(), String> {
        self.close_all().await;
        Ok(())
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Drop(portals) => self.links(portals, |link| link.mode = Mode::BlackHole),
            Action::Reject(portals) => self.links(portals, |link| link.mode = Mode::Reject),
            Action::Delay(milliseconds, portals) => {
                let delay = ROUND_TRIP + Duration::from_millis(*milliseconds);
                self.links(portals, |link| link.delay = delay);
            }
            Action::Heal => self.links(&[1, 2, 3, 4], |link| {
                (link.mode, link.delay) = (Mode::Up, ROUND_TRIP);
            }),
            Action::Multipath(setting) => self.configure(*setting),
            Action::Daemon(daemon, power) => self.daemon(*daemon, *power),
            other => self.sim.with(|world| target::change(world, other))?,
        }
        // What is asked of the target or a daemon takes a moment, and is done then.
        self.pause(Duration::from_secs(1)).await;
        Ok(())
    }

    fn finisher_runs(&self) -> bool {
        self.finishers.get() > 0
    }

    fn closer_hangs(&self) -> bool {
        self.somebody_closes()
    }

    async fn settle(&self) -> Result<(), String> {
        let busy = |world: &World| world.processes.values().any(|process| process.command == "(udev-worker)");
        self.sim.until(|world| (!busy(world)).then_some(())).await;
        Ok(())
    }

    async fn pause(&self, time: Duration) {
        self.sim.sleep(time).await;
    }

    fn left(&self) -> Result<Value, String> {
        Ok(self.sim.with(|world| left(world, self.finishers.get())))
    }
}

/// In the words of `lab leftovers`.
fn left(world: &World, finishers: usize) -> Value {
    let state = |folder: &str| world.state.keys().filter(|name| name.starts_with(folder)).count();
    let connecting = world.iscsid.logins.values().filter(|login| login.sid.is_none()).count();
    let kinds = [
        ("node_records", world.database.files.len()),
        ("sessions", world.sessions.len()),
        ("scsi_devices", world.disks.len()),
        ("maps", world.maps.len()),
        ("wwids", world.wwids.len()),
        ("attachments", state("attachments/")),
        ("claims", state("claims/")),
        ("processes", finishers),
        ("connecting", connecting),
    ];
    kinds
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| (kind.to_owned(), json!(count)))
        .collect()
}
