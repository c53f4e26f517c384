//! iSCSI sessions of the kernel, one SCSI host each.

use std::collections::BTreeSet;
use std::time::Duration;

use super::disks::DiskState;
use super::{Mode, World, disks};
use crate::executor::Sim;

/// State of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Being made.
    Free,
    /// Usable.
    LoggedIn,
    /// Its connection is lost.
    Failed,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its number.
    pub sid: u32,
    /// Its SCSI host.
    pub host: u32,
    /// The target.
    pub iqn: String,
    /// The portal.
    pub portal: usize,
    /// Its state.
    pub state: SessionState,
    /// How many connections it has had: a command is lost with its connection.
    pub connections: u64,
    /// How long the kernel waits for it to come back: as its record says, 120 s by default, and 5 s once multipathd has a disk of it (findings:
    /// "I/O on a dead path waits for fifteen seconds").
    pub recovery: Duration,
    /// It did not come back in time.
    pub offline: bool,
    /// iscsid knows it: not yet, right after iscsid was started (findings: "A logout finds no session, and it is there").
    pub known: bool,
    /// Its logout was begun by an iscsid that did not live to end it (findings: "A logout that iscsid does not live to
    /// finish cannot be finished").
    pub wedged: bool,
    /// The record did not say `manual`: a login brings in every LUN.
    pub scans_by_itself: bool,
    /// Others made it.
    pub foreign: bool,
    /// LUNs that others use below it.
    pub foreign_luns: BTreeSet<u64>,
    /// Somebody scans below its host, or deletes a device there.
    pub scan_mutex: bool,
}

impl World {
    /// Makes a session in the kernel, as iscsid does once TCP has connected.
    pub fn make_session(&mut self, iqn: &str, portal: usize) -> u32 {
        let sid = self.serial() as u32;
        let session = Session {
            sid,
            host: sid + 1,
            iqn: iqn.to_owned(),
            portal,
            state: SessionState::Free,
            connections: 0,
            recovery: Duration::from_secs(120),
            offline: false,
            known: true,
            wedged: false,
            scans_by_itself: false,
            foreign: false,
            foreign_luns: BTreeSet::new(),
            scan_mutex: false,
        };
        self.sessions.insert(sid, session);
        self.note("kernel", format_args!("session {sid} to {iqn} at portal {portal}"));
        self.touch();
        sid
    }

    /// The session of an endpoint.
    pub fn session_at(&self, iqn: &str, portal: usize) -> Option<&Session> {
        self.sessions.values().find(|session| session.iqn == iqn && session.portal == portal)
    }

    /// Moves a session into a state.
    pub fn set_session(&mut self, sid: u32, state: SessionState) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        session.state = state;
        if state == SessionState::LoggedIn {
            session.connections += 1;
            session.offline = false;
            self.turn_disks(sid, DiskState::TransportOffline, DiskState::Running);
        }
        self.note("kernel", format_args!("session {sid} is {state:?}"));
        self.touch();
    }

    fn take_offline(&mut self, sid: u32) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        session.offline = true;
        self.turn_disks(sid, DiskState::Running, DiskState::TransportOffline);
        self.note("kernel", format_args!("session {sid} did not come back in time"));
        self.touch();
    }

    /// The disks below a session that are in one state change to another.
    fn turn_disks(&mut self, sid: u32, from: DiskState, to: DiskState) {
        for disk in self.disks.values_mut().filter(|disk| disk.sid == sid && disk.state == from) {
            disk.state = to;
        }
    }

    fn is_up(&self, sid: u32) -> bool {
        self.sessions.get(&sid).is_some_and(|session| session.state == SessionState::LoggedIn)
    }
}

/// Watches the connection of a session that is logged in, for as long as there is the session: iscsid pings after 5 s of
/// silence, waits 5 s for the answer, and then connects anew.
pub async fn watch(sim: Sim, sid: u32) {
    let portal = match sim.with(|world| world.sessions.get(&sid).map(|session| session.portal)) {
        Some(portal) => portal,
        None => return,
    };
    let mut resets = sim.with(|world| world.links[portal].resets);
    loop {
        let trouble = sim
            .until(|world| {
                let link = &world.links[portal];
                match world.sessions.contains_key(&sid) {
                    false => Some(None),
                    true if link.resets != resets || link.mode == Mode::Reject => Some(Some(Duration::ZERO)),
                    true if !link.answers() => Some(Some(world.random.millis(5_000, 10_000))),
                    true => None,
                }
            })
            .await;
        let Some(noticed) = trouble else { return };
        sim.sleep(noticed).await;
        let broken = sim.with(|world| {
            let link = &world.links[portal];
            let broken = link.resets != resets || !link.answers();
            resets = link.resets;
            if broken && world.is_up(sid) {
                world.set_session(sid, SessionState::Failed);
            }
            broken
        });
        if broken {
            reconnect(&sim, sid, portal).await;
        }
    }
}

/// iscsid tries to connect again every few seconds, for ever; the kernel waits only so long.
async fn reconnect(sim: &Sim, sid: u32, portal: usize) {
    let late = sim.clone();
    let watch = sim.spawn(async move {
        let recovery = late.with(|world| world.sessions.get(&sid).map(|session| session.recovery));
        late.sleep(recovery.unwrap_or_default()).await;
        late.with(|world| world.take_offline(sid));
    });
    loop {
        let next = sim
            .until(|world| match world.sessions.get(&sid) {
                None => Some(None),
                Some(session) if session.wedged => None,
                Some(session) => {
                    let known = session.known;
                    let can = known && world.iscsid.works() && world.links[portal].connects();
                    can.then(|| Some(world.random.millis(300, 3_000)))
                }
            })
            .await;
        let Some(pause) = next else { return };
        sim.sleep(pause).await;
        let back = sim.with(|world| {
            let can = world.iscsid.works() && world.links[portal].connects();
            if can && world.sessions.contains_key(&sid) {
                world.set_session(sid, SessionState::LoggedIn);
            }
            can
        });
        if back {
            return sim.kill(watch);
        }
    }
}

/// The devices of a session go: each is flushed where its session is up.
pub async fn unbind(sim: &Sim, sid: u32) {
    let below: Vec<u64> =
        sim.with(|world| world.disks.values().filter(|d| d.sid == sid).map(|d| d.id).collect());
    for disk in below {
        let up = sim.with(|world| world.is_up(sid));
        if up {
            let _ = disks::begin_delete(sim, disk).await;
        } else {
            sim.with(|world| world.remove_disk(disk));
        }
    }
}
