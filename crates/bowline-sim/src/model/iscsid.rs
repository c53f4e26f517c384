//! iscsid: logins that cannot be called off, logouts, being killed, started, frozen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::sessions::{self, SessionState};
use super::{Mode, World, disks};
use crate::executor::{Sim, TaskId};
use crate::faults::Mark;

/// Whether a daemon is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    /// It runs.
    #[default]
    Runs,
    /// It stands still (SIGSTOP, a busy machine): requests wait in its socket.
    Frozen,
    /// It is not there.
    Dead,
}

/// The daemon.
#[derive(Default)]
pub struct Iscsid {
    /// Whether it is there.
    pub power: Power,
    /// Logins under way, by target and portal.
    pub logins: BTreeMap<(String, usize), Login>,
    /// How often it was started: an answer that was waited for from an earlier one never comes.
    pub starts: u32,
}

/// A login under way.
#[derive(Debug, Clone)]
pub struct Login {
    /// What does it.
    pub task: TaskId,
    /// The session, once TCP has connected.
    pub sid: Option<u32>,
    /// bowline asked for it.
    pub ours: bool,
}

impl Iscsid {
    /// Whether it does anything.
    pub fn works(&self) -> bool {
        self.power == Power::Runs
    }
}

/// What a login is told by its record.
#[derive(Debug, Clone)]
pub struct Terms {
    /// `node.session.initial_login_retry_max`
    pub tries: u32,
    /// `node.conn[0].timeo.login_timeout`
    pub limit: Duration,
    /// `node.session.timeo.replacement_timeout`
    pub recovery: Duration,
    /// `node.session.scan` is not `manual`.
    pub scans: bool,
    /// The CHAP secret.
    pub secret: Option<String>,
    /// The secret that the target has to prove itself with.
    pub secret_in: Option<String>,
}

/// iscsiadm's exit codes that are met here (open-iscsi 2.1.8 `include/iscsi_err.h`).
pub mod code {
    pub const NO_SESSION: i32 = 2;
    pub const CONNECT_TIMED_OUT: i32 = 8;
    pub const INTERNAL: i32 = 9;
    pub const SESSION_EXISTS: i32 = 15;
    pub const TALK_FAILED: i32 = 18;
    pub const FATAL_LOGIN: i32 = 19;
    pub const NOT_RUNNING: i32 = 20;
    pub const NO_OBJECTS: i32 = 21;
    pub const AUTHENTICATION: i32 = 24;
}

/// Waits until the daemon takes a request; its starts so far, or the code when it is not there.
async fn heard(sim: &Sim) -> Result<u32, i32> {
    sim.until(|world| match world.iscsid.power {
        Power::Dead => Some(Err(code::NOT_RUNNING)),
        Power::Frozen => None,
        Power::Runs => Some(Ok(world.iscsid.starts)),
    })
    .await
}

/// A login, as iscsiadm waits for it. The request lies in iscsid's socket until iscsid takes it.
pub async fn login(sim: &Sim, iqn: String, portal: usize, terms: Terms, ours: bool) -> i32 {
    match heard(sim).await {
        Err(code) => code,
        Ok(starts) => begin_login(sim, iqn, portal, terms, Login { task: 0, sid: None, ours }, starts).await,
    }
}

/// Begins a login, and waits for its end or that of iscsid.
async fn begin_login(sim: &Sim, iqn: String, portal: usize, terms: Terms, login: Login, starts: u32) -> i32 {
    let key = (iqn.clone(), portal);
    let code: Arc<Mutex<Option<i32>>> = Arc::default();
    let begun = sim.with(|world| {
        // A login under way counts as the session (findings: "Session exists" while there is none).
        if world.session_at(&iqn, portal).is_some() || world.iscsid.logins.contains_key(&key) {
            world.faults.mark(Mark::SessionExists);
            return false;
        }
        world.iscsid.logins.insert(key.clone(), login);
        true
    });
    if !begun {
        return code::SESSION_EXISTS;
    }
    let (told, work) = (code.clone(), sim.clone());
    let task = sim.spawn(async move {
        let code = attempt(&work, &iqn, portal, &terms).await;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        work.with(|world| {
            world.iscsid.logins.remove(&(iqn.clone(), portal));
            world.note("iscsid", format_args!("login to {iqn} at portal {portal}: {code}"));
            world.touch();
        });
    });
    sim.with(|world| {
        if let Some(login) = world.iscsid.logins.get_mut(&key) {
            login.task = task;
        }
    });
    sim.until(|world| {
        let ended = *code.lock().unwrap_or_else(PoisonError::into_inner);
        let died = world.iscsid.starts != starts || world.iscsid.power == Power::Dead;
        ended.or(died.then_some(code::TALK_FAILED))
    })
    .await
}

/// The tries of one login (findings: "A login cannot be called off").
async fn attempt(sim: &Sim, iqn: &str, portal: usize, terms: &Terms) -> i32 {
    for _ in 0..terms.tries.max(1) {
        let limit = sim.now() + terms.limit;
        loop {
            sim.until(|world| world.iscsid.works().then_some(())).await;
            let (mode, time) = sim.with(|world| (world.links[portal].mode, world.trips(portal, 1)));
            if mode == Mode::BlackHole || sim.now() + time > limit {
                let until = limit;
                let back = sim
                    .until_by(until, |world| (world.links[portal].mode != Mode::BlackHole).then_some(()))
                    .await;
                // A SYN that was lost is sent again in time only while the wait lasts.
                if back.is_none() || sim.now() + time > limit {
                    sim.sleep_until(limit).await;
                    break;
                }
                continue;
            }
            if mode == Mode::Reject {
                // Refused: again every 3 s within the limit (interfaces: "No cancel").
                let again = sim.now() + Duration::from_secs(3);
                sim.sleep_until(again.min(limit)).await;
                if sim.now() >= limit {
                    break;
                }
                continue;
            }
            sim.sleep(time).await;
            // It looks after 1 ms, then after 1 s (interfaces: "One-second quantum").
            if time > Duration::from_millis(1) {
                let rest = Duration::from_secs(1).saturating_sub(time);
                sim.sleep(rest).await;
            }
            match negotiate(sim, iqn, portal, terms, limit).await {
                Some(code) => return code,
                None => break,
            }
        }
    }
    code::CONNECT_TIMED_OUT
}

/// From TCP's connection to LOGGED_IN. `None` when the try failed and another may do.
async fn negotiate(sim: &Sim, iqn: &str, portal: usize, terms: &Terms, limit: Duration) -> Option<i32> {
    let sid = sim.with(|world| {
        let sid = world.make_session(iqn, portal);
        if let Some(login) = world.iscsid.logins.get_mut(&(iqn.to_owned(), portal)) {
            login.sid = Some(sid);
        }
        sid
    });
    let time = sim.with(|world| world.trips(portal, 3) + world.latency(2, 20));
    let fits = sim.now() + time <= limit;
    sim.sleep(time.min(limit.saturating_sub(sim.now()))).await;
    let (refused, connected) = sim.with(|world| {
        let refused = match world.storage.target(iqn) {
            Some(target) if !target.portals.contains(&portal) => Some(code::FATAL_LOGIN),
            None => Some(code::FATAL_LOGIN),
            Some(target) if target.chap.is_some() && terms.secret.is_none() => Some(code::AUTHENTICATION),
            Some(target) if target.chap.is_some() && target.chap != terms.secret => Some(code::FATAL_LOGIN),
            Some(target) if terms.secret_in.is_some() && target.chap_in != terms.secret_in => {
                Some(code::FATAL_LOGIN)
            }
            Some(_) => None,
        };
        (refused, world.links[portal].connects())
    });
    if let (Some(_), true) | (None, false) | (Some(_), false) = (refused, connected) {
        forget(sim, sid, iqn, portal);
        return refused.filter(|_| connected);
    }
    if !fits {
        forget(sim, sid, iqn, portal);
        return None;
    }
    sim.with(|world| {
        if let Some(session) = world.sessions.get_mut(&sid) {
            session.scans_by_itself = terms.scans;
            session.recovery = terms.recovery;
        }
        world.set_session(sid, SessionState::LoggedIn);
    });
    let watched = sim.clone();
    sim.spawn(sessions::watch(watched, sid));
    if terms.scans {
        scan_all(sim, sid, iqn);
    }
    Some(0)
}

/// Without `manual` every LUN comes in after a login.
fn scan_all(sim: &Sim, sid: u32, iqn: &str) {
    let luns: Vec<u64> = sim.with(|world| {
        let target = world.storage.target(iqn);
        target.map(|target| target.luns.keys().copied().collect()).unwrap_or_default()
    });
    for lun in luns {
        let scan = sim.clone();
        sim.spawn(async move {
            let _ = disks::begin_scan(&scan, sid + 1, lun).await;
        });
    }
}

fn forget(sim: &Sim, sid: u32, iqn: &str, portal: usize) {
    sim.with(|world| {
        world.sessions.remove(&sid);
        if let Some(login) = world.iscsid.logins.get_mut(&(iqn.to_owned(), portal)) {
            login.sid = None;
        }
        world.note("kernel", format_args!("session {sid} was not to be"));
        world.touch();
    });
}

/// A logout, as iscsiadm waits for it.
pub async fn logout(sim: &Sim, iqn: &str, portal: usize) -> i32 {
    let starts = match heard(sim).await {
        Ok(starts) => starts,
        // iscsiadm counts what it has ended: nothing (findings: "A logout finds no session, and it is there").
        Err(_) => return code::NO_OBJECTS,
    };
    let sid = sim.with(|world| {
        let key = (iqn.to_owned(), portal);
        if let Some(login) = world.iscsid.logins.get(&key) {
            // Before TCP connects there is no sid; during the login it is an internal error (interfaces: "No cancel").
            return Err(if login.sid.is_some() { code::INTERNAL } else { code::NO_OBJECTS });
        }
        match world.session_at(iqn, portal) {
            None => Err(code::NO_OBJECTS),
            Some(session) if session.wedged => Err(code::INTERNAL),
            Some(session) if !session.known => Err(code::NO_SESSION),
            Some(session) => Ok(session.sid),
        }
    });
    let sid = match sid {
        Ok(sid) => sid,
        Err(code) => return code,
    };
    let died = |world: &mut World| world.iscsid.starts != starts || world.iscsid.power == Power::Dead;
    sessions::unbind(sim, sid).await;
    let (connected, time) = sim.with(|world| {
        let up = world.sessions.get(&sid).is_some_and(|s| s.state == SessionState::LoggedIn);
        (up && world.links[portal].answers(), world.trips(portal, 1) + world.latency(20, 120))
    });
    // The target's answer is waited for 15 s (`node.conn[0].timeo.logout_timeout`), where there is a connection.
    let up = sim.with(|world| world.sessions.get(&sid).is_some_and(|s| s.state == SessionState::LoggedIn));
    sim.sleep(if connected || !up { time } else { Duration::from_secs(15) }).await;
    if sim.with(died) {
        sim.with(|world| {
            if let Some(session) = world.sessions.get_mut(&sid) {
                session.wedged = true;
                world.note("iscsid", format_args!("died in the logout of session {sid}"));
                world.faults.mark(Mark::Wedged);
            }
        });
        return code::TALK_FAILED;
    }
    sim.until(|world| world.iscsid.works().then_some(())).await;
    sim.with(|world| {
        world.sessions.remove(&sid);
        let left: Vec<u64> = world.disks.values().filter(|d| d.sid == sid).map(|d| d.id).collect();
        left.into_iter().for_each(|disk| world.remove_disk(disk));
        world.note("kernel", format_args!("session {sid} is gone"));
        world.touch();
    });
    0
}

/// iscsid dies. Its logins end; what they have made in the kernel stays.
pub fn kill(sim: &Sim) {
    let logins = sim.with(|world| {
        world.iscsid.power = Power::Dead;
        world.note("iscsid", format_args!("dies"));
        world.touch();
        std::mem::take(&mut world.iscsid.logins)
    });
    for login in logins.into_values() {
        sim.kill(login.task);
        if let Some(sid) = login.sid {
            // It never was logged in: the kernel has it, and the next iscsid takes it over.
            sim.with(|world| world.sessions.get_mut(&sid).map(|session| session.known = false));
        }
    }
}

/// iscsid is started: it takes the kernel's sessions over one after another, connecting each anew (open-iscsi 2.1.8
/// `usr/iscsid.c` `sync_session`).
pub fn start(sim: &Sim) {
    let sessions: Vec<(u32, SessionState)> = sim.with(|world| {
        world.iscsid.power = Power::Runs;
        world.iscsid.starts += 1;
        world.note("iscsid", format_args!("starts"));
        world.touch();
        world.sessions.values_mut().for_each(|session| session.known = false);
        world.sessions.values().filter(|session| !session.wedged).map(|s| (s.sid, s.state)).collect()
    });
    let work = sim.clone();
    sim.spawn(async move {
        for (sid, state) in sessions {
            let pause = work.with(|world| world.latency(100, 600));
            work.sleep(pause).await;
            work.with(|world| world.sessions.get_mut(&sid).map(|session| session.known = true));
            if state == SessionState::Free {
                // Half made by the one that died: it is logged in anew, and watched from now on.
                let portal = work.with(|world| world.sessions.get(&sid).map(|session| session.portal));
                let Some(portal) = portal else { continue };
                let up = work.clone();
                work.spawn(async move {
                    let gone_or_up = |world: &mut World| match world.sessions.contains_key(&sid) {
                        false => Some(false),
                        true => (world.iscsid.works() && world.links[portal].connects()).then_some(true),
                    };
                    if up.until(gone_or_up).await {
                        up.with(|world| world.set_session(sid, SessionState::LoggedIn));
                        sessions::watch(up.clone(), sid).await;
                    }
                });
            }
            work.with(World::touch);
        }
    });
}
