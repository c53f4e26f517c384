//! How far one path is, and what it needs next. The same rules serve single path and multipath (C4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_host::Moment;
use bowline_host::iscsi::Endpoint;
use bowline_host::scsi::DeviceState;

use super::attach::Attach;
use super::{Step, View, backoff};
use crate::claims::Claim;
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Ending, Ledger};
use crate::sabotage::{met, sabotaged};
use crate::topology::{DeviceView, SessionView, Topology};

/// How far a path is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<'a> {
    /// It needs this step now.
    Needs(Step),
    /// Something is under way.
    Waits {
        /// What.
        what: String,
        /// When to look again where no event will tell.
        wake: Option<Moment>,
    },
    /// Its disk is there.
    Present(&'a DeviceView),
    /// It is given up.
    Failed(String),
    /// It must not be used, and so must the whole volume.
    Refused(Error),
}

/// Tries of a step that fails before iscsid is even asked (the node database is busy).
const RECORD_TRIES: u32 = 4;
/// So often iscsid is asked where nobody answers: over 7 s, so that one that is restarted is waited for.
const ABSENCE_TRIES: u32 = 5;
/// A disk that has not attached to its SCSI device by then never will.
const DISK_LIMIT: Duration = Duration::from_secs(30);
/// Logins follow each other at least as fast as this, counted from their beginnings, so that a portal that was healed is logged in to a moment
/// later: one that got no answer has taken its time already.
const LOGIN_PACE: Duration = Duration::from_secs(3);

/// How far `path` is.
pub fn progress<'a>(goal: &Attach, path: &WantedPath, view: &View<'a>) -> Progress<'a> {
    given_up(goal, path, view)
        .or_else(|| claimed(path, view))
        .or_else(|| logged_in(goal, path, view))
        .or_else(|| scanned(goal, path, view))
        .unwrap_or_else(|| present(path, view))
}

/// In single path, a portal whose disk was deleted or which was released has had its turn (C14); why stays known.
fn given_up<'a>(goal: &Attach, path: &WantedPath, view: &View<'a>) -> Option<Progress<'a>> {
    if goal.multipath {
        return None;
    }
    let mut why = None;
    let mut disk = None;
    let mut over = false;
    let mut scanned = None;
    for entry in view.ledger.entries() {
        let failed = entry.ended.as_ref().map(|(_, ending)| ending).filter(|ending| !ending.is_ok());
        match &entry.step {
            Step::PrepareRecord(endpoint) | Step::Login(endpoint) if *endpoint == path.endpoint => {
                why = failed.map(|ending| format!("{}: {}", entry.step, ending.reason()));
            }
            Step::Scan { endpoint, scsi_host, lun } if *endpoint == path.endpoint && *lun == path.lun => {
                scanned = Some(*scsi_host);
                why = Some(match failed {
                    Some(ending) => format!("{}: {}", entry.step, ending.reason()),
                    None => not_exported(path),
                });
            }
            Step::DeleteDevice { hctl, block } if Some(hctl.host) == scanned && hctl.lun == path.lun => {
                over = true;
                disk = block.as_ref();
            }
            Step::Release(endpoint) if *endpoint == path.endpoint => over = true,
            _ => {}
        }
    }
    if let Some(disk) = disk {
        let mut reads = view.ledger.entries().iter().filter_map(|entry| match &entry.step {
            Step::VerifyRead { device, .. } if device == disk => entry.ended.as_ref(),
            _ => None,
        });
        let reason = reads.next_back().map_or(String::new(), |(_, ending)| format!(": {}", ending.reason()));
        why = Some(format!("its disk {disk} could not be used{reason}"));
    }
    if over {
        met!(GivenUp);
    }
    over.then(|| Progress::Failed(why.unwrap_or_else(|| "it was cleaned up".into())))
}

fn not_exported(path: &WantedPath) -> String {
    format!("LUN {} is not there: the target does not export it to this initiator", path.lun)
}

/// An endpoint is used only after it was claimed on disk (B4, B6), and logged in to only with a record that
/// scans by hand (C15).
fn claimed<'a>(path: &WantedPath, view: &View<'a>) -> Option<Progress<'a>> {
    let endpoint = &path.endpoint;
    let step = Step::PrepareRecord(endpoint.clone());
    let mine = view.claims_it(endpoint);
    // One that is lost may have to be logged in to again, and that takes a record that was set.
    let session = view.topology.session(endpoint).is_some_and(SessionView::usable);
    let unset =
        view.ledger.running(&step) || view.ledger.last(&step).is_some_and(|(_, ending)| !ending.is_ok());
    let record = view.topology.record(endpoint).is_some() && prepared(endpoint, view);
    if mine && !unset && (session || record) {
        return None;
    }
    Some(next_try(step, RECORD_TRIES, Duration::from_millis(200), view, "cannot prepare the node record"))
}

/// Whether the endpoint's record was set: one that is there was made, and no more. Only the step's own ending tells, or
/// the claim, where another process has got as far as a login.
pub(super) fn prepared(endpoint: &Endpoint, view: &View<'_>) -> bool {
    view.claims.get(endpoint).is_some_and(|claim| claim.prepared)
        || view.ledger.succeeded(&Step::PrepareRecord(endpoint.clone()))
}

/// A session must be logged in. Exit 15, "session exists", does not mean that it is.
fn logged_in<'a>(goal: &Attach, path: &WantedPath, view: &View<'a>) -> Option<Progress<'a>> {
    let endpoint = &path.endpoint;
    let session = view.topology.session(endpoint);
    if session.is_some_and(SessionView::usable) {
        return None;
    }
    let step = Step::Login(endpoint.clone());
    if view.ledger.running(&step) {
        return Some(Progress::Waits { what: format!("log in to {endpoint}"), wake: None });
    }
    if view.ledger.last(&step).is_none()
        && let Some((ready, until)) = anothers_login(goal, endpoint, view)
    {
        met!(AnothersLogin);
        // Many volumes of one target at once: one login brings the session for all of them.
        let wake = Some(until.min(view.watch(ready)));
        return Some(Progress::Waits { what: format!("another volume's login to {endpoint}"), wake });
    }
    match view.ledger.last(&step) {
        Some((_, Ending::Ok)) if session.is_some() => {
            met!(SessionComesBack);
            // It was up, and lost its connection: iscsid gets it back by itself, and a login would change nothing.
            let wake = Some(view.now + Duration::from_millis(250));
            Some(Progress::Waits { what: format!("iscsid to bring back the session to {endpoint}"), wake })
        }
        Some((when, Ending::Ok | Ending::Skipped(_))) if view.now < landing(goal, path, when, view) => {
            met!(LoginMayLand);
            // Another's login, or iscsid's own recovery, may bring the session up; state changes send no event.
            let wake = Some(view.watch(when).min(landing(goal, path, when, view)));
            Some(Progress::Waits { what: format!("the session to {endpoint}"), wake })
        }
        Some((_, Ending::Ok | Ending::Skipped(_)))
            if view.ledger.tries(&step).count() as u32 >= goal.login.rounds =>
        {
            Some(Progress::Failed("iscsid says that the session exists, but it is not logged in".into()))
        }
        None if session.is_some() && view.ledger.tries(&step).next().is_none() => Some(Progress::Needs(step)),
        // A login begun now must be over while there is still time to clean up behind it (B1).
        _ if view.now + goal.login.bound() > goal.logins_end => {
            met!(NoTimeForLogin);
            let last =
                view.ledger.last(&step).map_or(String::new(), |(_, ending)| format!("; {}", ending.reason()));
            Some(Progress::Failed(format!("no time is left for a login{last}")))
        }
        _ => Some(next_try(step, goal.login.rounds, Duration::from_millis(500), view, "login")),
    }
}

/// Since when and until when to wait for a login that another process has under way; a time that is farther away than any login takes stems
/// from another boot. One login is waited for, counted from when this path could have begun its own: at a dead
/// portal another follows upon it, and each process is owed its rounds.
fn anothers_login(goal: &Attach, endpoint: &Endpoint, view: &View<'_>) -> Option<(Moment, Moment)> {
    let bound = goal.login.bound();
    let until = Moment(Duration::from_millis(view.claims.get(endpoint)?.login_until?));
    let ready = view.ledger.last(&Step::PrepareRecord(endpoint.clone())).map_or(goal.began, |(when, _)| when);
    let until = (until.since(view.now) <= bound).then(|| until.min(ready + bound))?;
    (until > view.now).then_some((ready, until))
}

/// Until when a login that is not ours may land: as long as the session is there, as long as one login takes; while
/// there is none, as long as the claim says that one is under way.
fn landing(goal: &Attach, path: &WantedPath, when: Moment, view: &View<'_>) -> Moment {
    let bound = when + goal.login.bound();
    if view.topology.session(&path.endpoint).is_some() {
        return bound;
    }
    let until = view.claims.get(&path.endpoint).and_then(|claim| claim.login_until);
    until
        .map_or(when, |until| Moment(Duration::from_millis(until)))
        .clamp(when + Duration::from_secs(1), bound)
}

/// The LUN is scanned for by us, on this session's host and no other (C12, C13). A device that was there before
/// our scan, and is not a live attachment's, proves nothing: sysfs remembers the identity of the first scan (B3).
/// Unless the session is new: then so is the device, which an old open-iscsi has scanned for (C15).
fn scanned<'a>(goal: &Attach, path: &WantedPath, view: &View<'a>) -> Option<Progress<'a>> {
    let session = view.topology.session(&path.endpoint)?;
    let scsi_host = session.session.scsi_host;
    let scan = Step::Scan { endpoint: path.endpoint.clone(), scsi_host, lun: path.lun };
    let device = session.device(path.lun);
    let begun = view.ledger.tries(&scan).next().is_some();
    match device {
        Some(device)
            if !begun
                && !goal.live
                && !new_session(&path.endpoint, view.ledger)
                && !sabotaged!(TrustStaleDevice) =>
        {
            Some(stale(path, device, view))
        }
        Some(_) if !view.ledger.running(&scan) => None,
        Some(device) if device.block().is_some() => None,
        _ if view.ledger.running(&scan) => Some(Progress::Waits {
            what: format!("scan for LUN {} of {}", path.lun, path.endpoint),
            wake: None,
        }),
        _ => Some(rescan(goal, path, scan, view)),
    }
}

/// Whether the session is of this connect's making: a login ends well only if there was none before.
pub(super) fn new_session(endpoint: &Endpoint, ledger: &Ledger) -> bool {
    ledger.succeeded(&Step::Login(endpoint.clone()))
}

/// Whether what sysfs says of the path's device stems from a scan of ours, or from a session of ours.
pub(crate) fn is_new(path: &WantedPath, ledger: &Ledger) -> bool {
    let scans = |step: &Step| matches!(step, Step::Scan { endpoint, lun, .. } if *endpoint == path.endpoint && *lun == path.lun);
    new_session(&path.endpoint, ledger) || ledger.entries().iter().any(|entry| scans(&entry.step))
}

/// Endpoints below which what sysfs says of a device proves nothing (B3).
pub fn unproven(
    goal: &Attach,
    ledger: &Ledger,
    claims: &BTreeMap<Endpoint, Claim>,
    id: &str,
) -> BTreeSet<Endpoint> {
    let all_new = |endpoint: &Endpoint| claims.get(endpoint).is_some_and(|claim| claim.brought_all_in(id));
    let old = |path: &&WantedPath| !goal.live && !is_new(path, ledger) && !all_new(&path.endpoint);
    goal.paths.iter().filter(old).map(|path| path.endpoint.clone()).collect()
}

/// A scan that found nothing is tried again `scan_attempts` times in all: the target may still be mapping.
fn rescan<'a>(goal: &Attach, path: &WantedPath, scan: Step, view: &View<'a>) -> Progress<'a> {
    let tries = view.ledger.tries(&scan).count() as u32;
    let Some((when, ending)) = view.ledger.last(&scan) else { return Progress::Needs(scan) };
    met!(ScanAgain);
    if tries >= goal.scan_attempts {
        met!(NotExported);
        return Progress::Failed(match ending {
            Ending::Ok => not_exported(path),
            other => format!("scan for LUN {}: {}", path.lun, other.reason()),
        });
    }
    let next = when + backoff(tries - 1, Duration::from_millis(500), view.seed);
    match view.now >= next {
        true => Progress::Needs(scan),
        false => Progress::Waits { what: scan.to_string(), wake: Some(next) },
    }
}

/// Whether a device of the volume is there that no scan of ours brought in: then it matters who has it open.
pub fn any_stale(goal: &Attach, topology: &Topology, ledger: &Ledger) -> bool {
    !goal.live && goal.paths.iter().any(|path| topology.device(path).is_some() && !is_new(path, ledger))
}

/// A device that was there before us: nobody's, so it goes and is scanned anew; or somebody's (something is
/// stacked upon it, or it is mounted or open), and then we do not know whose data it is.
fn stale<'a>(path: &WantedPath, device: &DeviceView, view: &View<'a>) -> Progress<'a> {
    let stacked = device.block().into_iter().flat_map(|block| &block.holders).map(ToString::to_string);
    let open = view.topology.openers.iter().filter(|opener| !opener.passes_by()).map(ToString::to_string);
    let held: Vec<String> = stacked.chain(open).collect();
    let name = device.block().map_or(device.device.hctl.to_string(), |block| block.name.to_string());
    if !held.is_empty() {
        met!(StaleHeld);
        return Progress::Refused(
            Error::new(
                ErrorKind::Identity,
                format!(
                    "LUN {} of {} was attached before, as {name}, by nobody bowline knows, and {} holds it",
                    path.lun,
                    path.endpoint,
                    held.join(", ")
                ),
            )
            .hint(format!("find out who uses {name}; once nothing holds it, connect again")),
        );
    }
    met!(StaleFree);
    next_try(Step::delete(device), 3, Duration::from_millis(500), view, "the stale device cannot be deleted")
}

/// The device is there; it becomes a disk a moment after the scan returned.
fn present<'a>(path: &WantedPath, view: &View<'a>) -> Progress<'a> {
    let waits = |what: String| Progress::Waits { what, wake: Some(view.now + Duration::from_millis(200)) };
    let Some(device) = view.topology.device(path) else {
        return waits(format!("the device of {}", path.endpoint));
    };
    if device.device.state == DeviceState::Going {
        return waits(format!("the old device {} to go", device.device.hctl));
    }
    if device.block().is_some() {
        return Progress::Present(device);
    }
    let session = view.topology.session(&path.endpoint).map(|view| view.session.scsi_host);
    let scanned = session.and_then(|scsi_host| {
        view.ledger.last(&Step::Scan { endpoint: path.endpoint.clone(), scsi_host, lun: path.lun })
    });
    match scanned {
        Some((when, _)) if view.now.since(when) > DISK_LIMIT => {
            Progress::Failed(format!("device {} is no disk", device.device.hctl))
        }
        _ => waits(format!("the disk of {}", device.device.hctl)),
    }
}

/// The step, its retries with back-off, or the end of the path.
fn next_try<'a>(step: Step, tries: u32, base: Duration, view: &View<'a>, what: &str) -> Progress<'a> {
    if view.ledger.running(&step) {
        return Progress::Waits { what: step.to_string(), wake: None };
    }
    let tried = view.ledger.tries(&step).count() as u32;
    let last = view.ledger.last(&step);
    let tries = match last {
        Some((_, Ending::Host(_))) => tries.max(ABSENCE_TRIES),
        _ => tries,
    };
    match last {
        None => Progress::Needs(step),
        Some((_, Ending::Final(why))) => Progress::Failed(format!("{what}: {why}")),
        Some((_, Ending::Ok)) if tried >= tries => Progress::Failed(format!("{what}: it took no effect")),
        Some((_, ending)) if tried >= tries => Progress::Failed(format!("{what}: {}", ending.reason())),
        Some((when, ending)) => {
            let pause = backoff(tried - 1, base, view.seed);
            let next = match (&step, ending, view.ledger.tries(&step).next_back()) {
                (Step::Login(_), Ending::Failed(_), Some(last)) => {
                    (last.began + pause.min(LOGIN_PACE)).max(when + backoff(0, base, view.seed))
                }
                _ => when + pause,
            };
            match view.now >= next {
                true => Progress::Needs(step),
                false => Progress::Waits { what: step.to_string(), wake: Some(next) },
            }
        }
    }
}
