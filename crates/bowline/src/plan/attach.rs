//! From connection properties to something that can be opened: a map (C3), or one device (C14).

use std::time::Duration;

use bowline_host::iscsi::Endpoint;
use bowline_host::{Moment, Wwid};

use super::detach::{self, Detach};
use super::path::{self, Progress};
use super::{Decision, Draft, Step, View};
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::ledger::Ending;
use crate::policy::{LoginPolicy, OnDirty};
use crate::topology::{DeviceView, MapView};

/// The goal of a connect.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Every path, in the controller's order.
    pub paths: Vec<WantedPath>,
    /// A map is wanted.
    pub multipath: bool,
    /// Without a map, one device will do (C11).
    pub allow_single_device: bool,
    /// The identity every path must have.
    pub expected: Option<Wwid>,
    /// The volume is attached already, by the journal: its devices are trusted.
    pub live: bool,
    /// How a login is tried.
    pub login: LoginPolicy,
    /// How often a LUN is scanned for.
    pub scan_attempts: u32,
    /// When there are paths enough.
    pub enough: Enough,
    /// When the connect began.
    pub began: Moment,
    /// When the last login must be over.
    pub logins_end: Moment,
    /// When the attach must be done, so that what is left of the verb's time is enough to clean up.
    pub deadline: Moment,
}

/// When enough paths are in the map to hand it out (B1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// That many, and then those that come within the grace (see [`crate::ConnectOptions::grace`]).
    Quorum {
        /// At least.
        paths: usize,
        /// Then so much longer; `None`: as long as the first took.
        grace: Option<Duration>,
    },
    /// All that can be had: the map has been handed out already.
    All,
}

/// The grace, where the caller chose none, is as long as the first path took, within these.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);
const LONGEST_GRACE: Duration = Duration::from_secs(5);
/// The first scan and the claim of its identity hold up the other scans for so long at most.
const CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// A path that is in the map but not in use yet: multipathd's checker gets this long to say so.
const CHECKER_PATIENCE: Duration = Duration::from_secs(10);
/// multipathd hears of a new path by itself; it is told only of one that it overlooked for this long.
const JOIN_PATIENCE: Duration = Duration::from_secs(3);
/// So often it is told.
const ADD_PATH_TRIES: usize = 3;
/// A disk that cannot be read this often is given up, in single path (C7: not being readable is no error yet).
const READ_TRIES: u32 = 3;

/// What to do next.
pub fn plan(goal: &Attach, view: &View<'_>) -> Decision {
    let progress: Vec<(&WantedPath, Progress<'_>)> =
        goal.paths.iter().map(|path| (path, path::progress(goal, path, view))).collect();
    if let Some(error) = progress.iter().find_map(|(_, p)| match p {
        Progress::Refused(error) => Some(error.clone()),
        _ => None,
    }) {
        return Decision::Refused(error);
    }
    let identity = match identity(goal, &progress, view) {
        Ok(identity) => identity,
        Err(error) => return Decision::Refused(error),
    };
    match goal.multipath {
        true => multipath(goal, &progress, identity.as_ref(), view),
        false => single(goal, &progress, view),
    }
}

/// Every path that can tell must tell the same identity, and the expected one where there is one (B3). One that
/// cannot tell is skipped (C5).
fn identity(
    goal: &Attach,
    progress: &[(&WantedPath, Progress<'_>)],
    view: &View<'_>,
) -> Result<Option<Wwid>, Error> {
    let mut agreed = goal.expected.clone().map(|wwid| (wwid, "the expected identity".to_owned()));
    for (path, device) in progress.iter().filter_map(|(path, p)| Some((path, told(goal, path, p, view)?))) {
        let Some(wwid) = &device.device.wwid else { continue };
        match &agreed {
            None => agreed = Some((wwid.clone(), path.endpoint.to_string())),
            Some((other, whose)) if other != wwid => {
                return Err(Error::new(
                    ErrorKind::Identity,
                    format!("LUN {} of {} is volume {wwid}, but {whose} is {other}", path.lun, path.endpoint),
                )
                .hint("have the controller export the volume anew: the paths lead to different volumes"));
            }
            Some(_) => {}
        }
    }
    let agreed = agreed.map(|(wwid, _)| wwid);
    match view.topology.foreign_maps.first() {
        Some(map) => Err(Error::new(
            ErrorKind::Identity,
            format!(
                "map {} holds a device of this volume, but its identity is {}{}",
                map.name,
                map.wwid,
                agreed.map_or(String::new(), |wwid| format!(", not {wwid}"))
            ),
        )),
        None => Ok(agreed),
    }
}

/// The device of a path, once what sysfs says of it stems from a scan of ours: also before it has become a disk.
fn told<'a>(
    goal: &Attach,
    path: &WantedPath,
    progress: &Progress<'_>,
    view: &View<'a>,
) -> Option<&'a DeviceView> {
    let scanned = |entry: &crate::ledger::Entry| matches!(&entry.step, Step::Scan { endpoint, lun, .. } if *endpoint == path.endpoint && *lun == path.lun);
    match progress {
        Progress::Present(_) | Progress::Waits { .. } => {}
        _ => return None,
    }
    let trusted = goal.live || view.ledger.entries().iter().any(scanned);
    view.topology.device(path).filter(|_| trusted)
}

fn multipath(
    goal: &Attach,
    progress: &[(&WantedPath, Progress<'_>)],
    identity: Option<&Wwid>,
    view: &View<'_>,
) -> Decision {
    let mut draft = Draft::default();
    let verified = view.topology.map.as_ref().and_then(|map| read_from(map, view));
    if let (true, Some(map)) =
        (goal.live && goal.enough != Enough::All, view.topology.map.as_ref().filter(|map| map.ready()))
    {
        return still_there(map, verified, view);
    }
    let claiming = claim(&mut draft, progress, identity, view);
    for (path, progress) in progress {
        match progress {
            Progress::Needs(Step::Scan { .. }) if claiming => draft.wait("the identity to be claimed", None),
            _ => advance(&mut draft, path, progress, verified, view),
        }
    }
    match (&view.topology.map, identity) {
        (Some(map), _) if verified.is_none() => {
            prove(&mut draft, map, view);
        }
        (None, Some(wwid)) => form(&mut draft, wwid, progress, view),
        _ => {}
    }
    if let Some(verified) = verified {
        let over = draft.is_empty() || view.now >= goal.deadline;
        match enough(goal, progress, verified, view) {
            Ok(()) => return Decision::Done,
            Err(_) if over => return settled(goal, progress, view),
            Err(wake) => draft.wait("more paths", wake),
        }
    }
    if progress.iter().all(|(_, p)| matches!(p, Progress::Failed(_))) {
        return Decision::Refused(no_path(progress, view));
    }
    if draft.is_empty() || view.now >= goal.deadline {
        return without_map(goal, progress, draft, view);
    }
    draft.wait("the goal", Some(goal.deadline));
    draft.act()
}

/// Whether there are paths enough to hand the map out (B1); if not yet, when to look again. Every endpoint must have
/// been claimed and its record written: who finishes the others has no secrets.
fn enough(
    goal: &Attach,
    progress: &[(&WantedPath, Progress<'_>)],
    verified: Moment,
    view: &View<'_>,
) -> Result<(), Option<Moment>> {
    let Enough::Quorum { paths, grace } = goal.enough else { return Err(None) };
    let preparing = |p: &Progress<'_>| matches!(p, Progress::Needs(Step::PrepareRecord(_)));
    let prepared = progress
        .iter()
        .all(|(path, p)| !preparing(p) && !view.ledger.running(&Step::PrepareRecord(path.endpoint.clone())));
    let took = verified.since(goal.began).clamp(SHORTEST_GRACE, LONGEST_GRACE);
    let until = verified + grace.unwrap_or(took);
    match prepared && active(progress, view) >= paths.min(goal.paths.len()) && view.now >= until {
        true => Ok(()),
        false => Err(Some(until).filter(|until| *until > view.now)),
    }
}

/// How many paths the kernel uses.
fn active(progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) -> usize {
    let in_use = |p: &Progress<'_>| match (p, &view.topology.map) {
        (Progress::Present(device), Some(map)) => {
            device.block().is_some_and(|block| map.is_active(block.number))
        }
        _ => false,
    };
    progress.iter().filter(|(_, p)| in_use(p)).count()
}

/// No path can be added any more, or there is no time: what is there must be enough.
fn settled(goal: &Attach, progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) -> Decision {
    let (there, wanted) = (
        active(progress, view),
        match goal.enough {
            Enough::Quorum { paths, .. } => paths.min(goal.paths.len()),
            Enough::All => 0,
        },
    );
    if there >= wanted {
        return Decision::Done;
    }
    let mut error = Error::new(
        ErrorKind::NotAttached,
        format!("only {there} of the {wanted} paths asked for could be had"),
    );
    for (path, p) in progress {
        if let Progress::Failed(why) = p {
            error = error.cause(format!("{}: {why}", path.endpoint));
        }
    }
    Decision::Refused(error.hint("ask for fewer paths (--min-paths), or bring the portals back"))
}

/// The first path's scan tells the identity; once that is on multipath's wwids file, udev claims every further path
/// for multipath at its first event, instead of probing it for file systems and being told to claim it afterwards.
/// So the other scans wait for the first, but not long: true while they should.
fn claim(
    draft: &mut Draft,
    progress: &[(&WantedPath, Progress<'_>)],
    identity: Option<&Wwid>,
    view: &View<'_>,
) -> bool {
    let Some(wwid) = identity else { return first_scan(draft, progress, view) };
    if view.topology.wwid_on_file || view.topology.map.is_some() {
        return false;
    }
    // An expected identity is claimed only once a disk has shown it: until then the journal does not know it (B4), and
    // it may be another volume's (B3).
    if !progress.iter().any(|(_, p)| shows(p, wwid)) {
        return first_scan(draft, progress, view);
    }
    let step = Step::ClaimWwid(wwid.clone());
    draft.want(view, step.clone(), 3, Duration::from_millis(200));
    let began = view.ledger.tries(&step).next().map_or(view.now, |entry| entry.began);
    let until = began + CLAIM_PATIENCE;
    if view.ledger.failures(&step) == 0 && view.now < until {
        draft.wait("the identity to be claimed", Some(until));
        return true;
    }
    false
}

fn shows(progress: &Progress<'_>, wwid: &Wwid) -> bool {
    matches!(progress, Progress::Present(device) if device.device.wwid.as_ref() == Some(wwid))
}

/// One scan goes ahead; a path that does not answer holds up the others for a moment only.
fn first_scan(draft: &mut Draft, progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) -> bool {
    let running =
        view.ledger.entries().iter().find(|e| matches!(e.step, Step::Scan { .. }) && e.ended.is_none());
    let until = match running {
        Some(entry) => entry.began + CLAIM_PATIENCE,
        None => {
            let first = progress.iter().find_map(|(_, p)| match p {
                Progress::Needs(step @ Step::Scan { .. }) => Some(step),
                _ => None,
            });
            let Some(first) = first else { return false };
            draft.steps.push(first.clone());
            view.now + CLAIM_PATIENCE
        }
    };
    if view.now < until {
        draft.wait("the first scan", Some(until));
        return true;
    }
    false
}

/// Connecting what is connected changes nothing (C16): a read proves that it still works.
fn still_there(map: &MapView, verified: Option<Moment>, view: &View<'_>) -> Decision {
    if verified.is_some() {
        return Decision::Done;
    }
    let mut draft = Draft::default();
    if prove(&mut draft, map, view) {
        return draft.act();
    }
    let why = view.ledger.last(&read_step(map)).map_or(String::new(), |(_, ending)| ending.reason());
    Decision::Refused(
        Error::new(ErrorKind::NotAttached, format!("map {} of this attachment cannot be read", map.map.name))
            .cause(why)
            .hint("it was attached before and was left as it is; see whether its portals can be reached"),
    )
}

/// What one path of a map needs: its own next step, or to join the map.
fn advance(
    draft: &mut Draft,
    path: &WantedPath,
    progress: &Progress<'_>,
    verified: Option<Moment>,
    view: &View<'_>,
) {
    let device = match progress {
        Progress::Needs(step) => return draft.steps.push(step.clone()),
        Progress::Waits { what, wake } => return draft.wait(what.clone(), *wake),
        Progress::Failed(_) | Progress::Refused(_) => return,
        Progress::Present(device) => device,
    };
    let (Some(map), Some(block)) = (&view.topology.map, device.block()) else { return };
    let Some(verified) = verified else { return };
    if map.is_active(block.number) {
        return;
    }
    let patience = if map.has(block.number) { CHECKER_PATIENCE } else { JOIN_PATIENCE };
    let since = view.now.since(verified);
    if since < patience {
        draft.wait(format!("{} to join map {}", path.endpoint, map.map.name), Some(verified + patience));
    } else if !map.has(block.number) && device.device.wwid.is_some() {
        let step = Step::AddPath(block.name.clone());
        // multipathd says `ok` also when it keeps the path as an orphan, so every try counts.
        if view.ledger.running(&step) || view.ledger.tries(&step).count() < ADD_PATH_TRIES {
            draft.want(view, step, u32::MAX, Duration::from_secs(1));
        }
    }
}

/// When the map was read from, if it was, and it still is fit to be handed out.
fn read_from(map: &MapView, view: &View<'_>) -> Option<Moment> {
    let step = read_step(map);
    view.ledger.last(&step).filter(|(_, ending)| map.ready() && ending.is_ok()).map(|(when, _)| when)
}

fn read_step(map: &MapView) -> Step {
    Step::VerifyRead { device: map.map.block_name(), number: map.map.number }
}

/// A map is usable when one read from it succeeds; until udev is done with it there is no use in trying. False when
/// it was tried often enough.
fn prove(draft: &mut Draft, map: &MapView, view: &View<'_>) -> bool {
    match map.ready() {
        true if !view.ledger.succeeded(&read_step(map)) => {
            draft.want(view, read_step(map), 10, Duration::from_millis(250))
        }
        _ => {
            let wake = view.now + Duration::from_millis(500);
            draft.wait(format!("map {} to become usable", map.map.name), Some(wake));
            true
        }
    }
}

/// multipathd makes the map, from any path whose identity udev has found out (C3, C5). The first try may come
/// before multipathd has heard of the path; then it is told.
fn form(draft: &mut Draft, wwid: &Wwid, progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) {
    let known = progress.iter().find_map(|(_, p)| match p {
        Progress::Present(device) if device.udev_done() && device.device.wwid.as_ref() == Some(wwid) => {
            device.block()
        }
        _ => None,
    });
    let Some(block) = known else {
        if progress.iter().any(|(_, p)| matches!(p, Progress::Present(_))) {
            draft.wait("udev to finish with the first disk", Some(view.now + Duration::from_millis(500)));
        }
        return;
    };
    let add_map = Step::AddMap(wwid.clone());
    let add_path = Step::AddPath(block.name.clone());
    let tries = view.ledger.tries(&add_map).count();
    let untold = tries >= 2 && view.ledger.tries(&add_path).count() < tries / 2;
    if view.ledger.running(&add_path) {
        draft.wait(add_path.to_string(), None);
    } else if untold && !view.ledger.running(&add_map) {
        draft.steps.push(add_path);
    } else {
        draft.want(view, add_map, u32::MAX, Duration::from_millis(100));
    }
}

/// No map, and nothing left to try or no time: the one device where the caller allows it (C11), or the end.
fn without_map(
    goal: &Attach,
    progress: &[(&WantedPath, Progress<'_>)],
    draft: Draft,
    view: &View<'_>,
) -> Decision {
    if goal.allow_single_device && view.topology.map.is_none() {
        for (_, p) in progress {
            let Progress::Present(device) = p else { continue };
            match read_device(device, view) {
                Some(Ok(())) => return Decision::Done,
                Some(Err(step)) => {
                    let wake = Some(view.now + Duration::from_millis(200));
                    return Decision::Act { steps: step, wake, waiting: vec!["the single device".into()] };
                }
                None => {}
            }
        }
    }
    let mut error = Error::new(ErrorKind::NotAttached, "no usable multipath map could be formed in time");
    for (path, p) in progress {
        if let Progress::Failed(why) = p {
            error = error.cause(format!("{}: {why}", path.endpoint));
        }
    }
    for what in draft.waiting {
        error = error.cause(format!("still waiting for {what}"));
    }
    let refused = view.ledger.entries().iter().rev().find_map(|entry| match (&entry.step, &entry.ended) {
        (Step::AddMap(_), Some((_, ending))) if !ending.is_ok() => Some(ending.reason()),
        _ => None,
    });
    if let Some(why) = refused {
        error = error.cause(format!("multipathd: {why}"));
    }
    Decision::Refused(
        error.hint("see what multipathd says of the device: multipathd show paths; is it blacklisted?"),
    )
}

/// Whether a disk was read: `Some(Err(steps))` while that is being found out, `None` when it cannot be.
fn read_device(device: &DeviceView, view: &View<'_>) -> Option<Result<(), Vec<Step>>> {
    let block = device.block()?;
    let step = Step::VerifyRead { device: block.name.clone(), number: block.number };
    match view.ledger.last(&step) {
        _ if view.ledger.running(&step) => Some(Err(Vec::new())),
        Some((_, Ending::Ok)) => Some(Ok(())),
        _ if view.ledger.failures(&step) >= READ_TRIES => None,
        _ => Some(Err(vec![step])),
    }
}

/// The portals are tried in turn, and one that did not work is cleaned up before the next is tried, so that two
/// paths of one volume never exist side by side (C14).
fn single(goal: &Attach, progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) -> Decision {
    let device = goal.paths.iter().find_map(|path| view.topology.device(path));
    if goal.live && (device.is_some() || view.topology.map.is_some()) {
        return live_single(goal, device, view);
    }
    for (path, progress) in progress {
        let mut draft = Draft::default();
        let wake = Some(view.now + Duration::from_millis(500));
        let spent = match progress {
            Progress::Needs(step) => {
                draft.steps.push(step.clone());
                false
            }
            Progress::Waits { what, wake } => {
                draft.wait(what.clone(), *wake);
                false
            }
            Progress::Present(device) if !device.udev_done() => {
                draft.wait("udev to finish with the disk", wake);
                false
            }
            Progress::Present(device) => match usable_single(&mut draft, device, view) {
                Some(true) => return Decision::Done,
                Some(false) => false,
                None => true,
            },
            Progress::Failed(_) | Progress::Refused(_) => true,
        };
        if spent && detach::steps(&cleaning(path), view, &mut draft) {
            continue;
        }
        if view.now >= goal.deadline {
            break;
        }
        draft.wait("the goal", Some(goal.deadline));
        return draft.act();
    }
    Decision::Refused(no_path(progress, view))
}

/// The disk of a live attachment stays the one, whether it can be read now or not: it may hold data that is not
/// written yet, and another path beside it would be a second one (C14, C16).
fn live_single(goal: &Attach, device: Option<&DeviceView>, view: &View<'_>) -> Decision {
    let mut draft = Draft::default();
    let usable = match (device, &view.topology.map) {
        (Some(device), _) => usable_single(&mut draft, device, view),
        (None, Some(map)) if read_from(map, view).is_some() => Some(true),
        (None, Some(map)) => prove(&mut draft, map, view).then_some(false),
        (None, None) => None,
    };
    match usable {
        Some(true) => Decision::Done,
        Some(false) if view.now < goal.deadline => {
            draft.wait("the goal", Some(goal.deadline));
            draft.act()
        }
        _ => {
            let disk = device.and_then(DeviceView::block).map(|block| format!("{} of ", block.name));
            let what = format!("{}this attachment cannot be read", disk.unwrap_or_default());
            Decision::Refused(
                Error::new(ErrorKind::NotAttached, what).hint(
                    "it was attached before and was left as it is; see whether its portal can be reached",
                ),
            )
        }
    }
}

/// A single disk is usable when it can be read. Where the host's configuration maps it anyway, the map is what
/// is handed out: two users of one volume, past each other's caches, would lose data. `None`: not usable.
fn usable_single(draft: &mut Draft, device: &DeviceView, view: &View<'_>) -> Option<bool> {
    if let Some(map) = &view.topology.map {
        if read_from(map, view).is_some() {
            return Some(true);
        }
        return prove(draft, map, view).then_some(false);
    }
    if device.claimed_by_multipath() {
        draft.wait("multipathd to map the disk", Some(view.now + Duration::from_millis(500)));
        return Some(false);
    }
    match read_device(device, view)? {
        Ok(()) => Some(true),
        Err(steps) => {
            draft.wait("a first read", None);
            draft.steps.extend(steps);
            Some(false)
        }
    }
}

/// The clean-up of one portal of a single-path attach.
fn cleaning(path: &WantedPath) -> Detach {
    Detach { paths: vec![path.clone()], wwid: None, on_dirty: OnDirty::NothingWritten, ..Detach::default() }
}

fn no_path(progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) -> Error {
    let missing = view.ledger.entries().iter().any(|e| matches!(&e.ended, Some((_, Ending::Host(_)))));
    let mut error = Error::new(
        if missing { ErrorKind::Host } else { ErrorKind::NotAttached },
        match progress {
            [(path, _)] => format!("the only portal, {}, did not work", path.endpoint),
            _ => format!("none of the {} portals worked", progress.len()),
        },
    );
    for (path, p) in progress {
        match p {
            Progress::Failed(why) => error = error.cause(format!("{}: {why}", path.endpoint)),
            Progress::Waits { what, .. } => {
                error = error.cause(format!("{}: still waiting for {what}", path.endpoint));
            }
            Progress::Present(_) => {
                error = error.cause(format!("{}: the disk cannot be read", path.endpoint))
            }
            _ => error = error.cause(format!("{}: not tried: no time was left", path.endpoint)),
        }
    }
    if missing {
        return error.hint("is open-iscsi installed, and does iscsid run? systemctl start iscsid");
    }
    error.hint("check that the portals can be reached from this host and that the target exports the LUN to its initiator name")
}

/// A path that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub endpoint: Endpoint,
    /// Why.
    pub reason: String,
    /// Whether it may still come.
    pub pending: bool,
}

/// The paths that are not in use, and why: for the report.
pub fn missing(goal: &Attach, view: &View<'_>) -> Vec<Missing> {
    let missing = |path: &WantedPath| {
        let (reason, pending) = match path::progress(goal, path, view) {
            Progress::Failed(why) => (why, false),
            Progress::Waits { what, .. } => (format!("not there yet: waiting for {what}"), true),
            Progress::Needs(step) => (format!("not there yet: next is to {step}"), true),
            Progress::Refused(error) => (error.message, false),
            Progress::Present(device) => {
                let (map, block) = (view.topology.map.as_ref()?, device.block()?);
                match map.has(block.number) {
                    true => return None,
                    false => (format!("{} is not in the map yet", block.name), true),
                }
            }
        };
        Some(Missing { endpoint: path.endpoint.clone(), reason, pending })
    };
    goal.paths.iter().filter_map(missing).collect()
}
