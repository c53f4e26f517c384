//! A map of as many paths as can be had in time.

use std::time::Duration;

use bowline_host::names::BlockName;
use bowline_host::scsi::BlockDevice;
use bowline_host::{Moment, Wwid};

use super::{Attach, Enough, missing, no_path, prove, read_device, read_from, read_step, told};
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::ledger::Ending;
use crate::plan::path::{self, Progress};
use crate::plan::{Decision, Draft, Step, View};
use crate::sabotage::met;
use crate::topology::{DeviceView, MapView, SessionView};

/// The grace, where the caller chose none, is as long as the first path took, within these.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);
const LONGEST_GRACE: Duration = Duration::from_secs(5);
/// The first scan and the claim of its identity hold up the other scans for so long at most.
const CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// A path that is in the map but not in use yet: multipathd's checker gets this long to say so.
const CHECKER_PATIENCE: Duration = Duration::from_secs(10);
/// multipathd hears of a new path by itself; it is told only of one that it overlooked for this long.
const JOIN_PATIENCE: Duration = Duration::from_secs(3);
/// Why a disk cannot be used whose state is `offline` or `transport-offline`.
pub(super) const GIVEN_UP: &str = "the kernel has given it up";
/// So often it is told.
const ADD_PATH_TRIES: usize = 3;

pub(super) fn plan(
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
    set_aside(&mut draft, goal, view);
    let claiming = claim(&mut draft, goal, progress, identity, view);
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
        return Decision::Refused(no_path(progress, &[], view));
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
    // Also while the step is tried again, there is nothing to log in with.
    let preparing = |path: &WantedPath, p: &Progress<'_>| match p {
        Progress::Needs(_) | Progress::Waits { .. } => !path::prepared(&path.endpoint, view),
        _ => false,
    };
    let prepared = !progress.iter().any(|(path, p)| preparing(path, p));
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
    let (there, wanted) = (active(progress, view), goal.least());
    if there >= wanted {
        return Decision::Done;
    }
    met!(TooFewPaths);
    let mut error = Error::new(
        ErrorKind::NotAttached,
        format!("only {there} of the {wanted} paths asked for could be had"),
    );
    for path in missing(goal, view) {
        error = error.cause(format!("{}: {}", path.endpoint, path.reason));
    }
    Decision::Refused(error.hint("ask for fewer paths (--min-paths), or bring the portals back"))
}

/// The first path's scan tells the identity; once that is on multipath's wwids file, udev claims every further path
/// for multipath at its first event, instead of probing it for file systems and being told to claim it afterwards. The
/// kernel knows the identity before it asks the device all that a disk needs (20 commands), so where each takes its time
/// the first path's own event is in time for it, too. The other scans wait for the first, but not long: true while they
/// should.
fn claim(
    draft: &mut Draft,
    goal: &Attach,
    progress: &[(&WantedPath, Progress<'_>)],
    identity: Option<&Wwid>,
    view: &View<'_>,
) -> bool {
    let Some(wwid) = identity else { return first_scan(draft, progress, view) };
    if view.topology.wwid_on_file || view.topology.map.is_some() {
        return false;
    }
    // An expected identity is claimed only once a device has shown it: until then the journal does not know it (B4), and
    // it may be another volume's (B3).
    let shows = |device: &DeviceView| device.device.wwid.as_ref() == Some(wwid);
    if !progress.iter().any(|(path, p)| told(goal, path, p, view).is_some_and(shows)) {
        return first_scan(draft, progress, view);
    }
    met!(ClaimIdentity);
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
            met!(FirstScan);
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
    met!(StillThere);
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
    let Some(block) = device.block() else { return };
    if device.given_up() && !view.topology.map.as_ref().is_some_and(|map| map.has(block.number)) {
        return draft.wait(format!("{} to be there again: {GIVEN_UP}", block.name), Some(view.next_look()));
    }
    let (Some(map), Some(verified)) = (&view.topology.map, verified) else { return };
    if map.is_active(block.number) {
        return;
    }
    let patience = if map.has(block.number) { CHECKER_PATIENCE } else { JOIN_PATIENCE };
    let since = view.now.since(verified);
    if since < patience {
        let wake = (verified + patience).min(view.next_look());
        draft.wait(format!("{} to join map {}", path.endpoint, map.map.name), Some(wake));
    } else if !map.has(block.number) && !device.udev_done() {
        // multipathd takes the identity from udev's record: before that it would only keep the path as an orphan.
        draft.wait(format!("udev to finish with {}", block.name), Some(view.next_look()));
    } else if !map.has(block.number) && device.device.wwid.is_some() {
        met!(TellPath);
        let step = Step::AddPath(block.name.clone());
        // multipathd says `ok` also when it keeps the path as an orphan, so every try counts.
        if view.ledger.running(&step) || view.ledger.tries(&step).count() < ADD_PATH_TRIES {
            draft.want(view, step, u32::MAX, Duration::from_secs(1));
        }
    }
}

/// A disk that the kernel has given up cannot be opened, and device-mapper refuses every table with a disk that it cannot open, unless the
/// map has it already (Linux 6.12, run: ENXIO). multipathd puts all paths it knows into the table: as long as that is among them, no
/// other can join, nor can a map be made (C3, C5). So it forgets that one, and is told of it again once it is back.
fn set_aside(draft: &mut Draft, goal: &Attach, view: &View<'_>) {
    let map = view.topology.map.as_ref();
    let ours = goal.paths.iter().filter(|path| goal.live || path::is_new(path, view.ledger));
    let outside = ours.filter_map(|path| {
        let device = view.topology.device(path)?;
        let block = device.block()?;
        map.is_none_or(|map| !map.has(block.number)).then_some((device, block))
    });
    let (closed, open): (Vec<_>, Vec<_>) = outside.partition(|(device, _)| device.given_up());
    if open.is_empty() {
        return;
    }
    for (_, block) in closed {
        met!(SetAside);
        // It may hear of the path only now, so that it does not know it yet is no reason to stop.
        draft.want(view, Step::SetAside(block.name.clone()), u32::MAX, Duration::from_millis(500));
    }
}

/// multipathd makes the map, from any path whose identity udev has found out (C3, C5). The first try may come
/// before multipathd has heard of the path; then it is told. A path that it says it will never take is no help (C11).
fn form(draft: &mut Draft, wwid: &Wwid, progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) {
    let disks = progress.iter().filter_map(|(_, p)| match p {
        Progress::Present(device) => Some((*device, device.block()?)),
        _ => None,
    });
    let helps =
        |(device, block): &(&DeviceView, &BlockDevice)| !device.given_up() && !blacklisted(&block.name, view);
    let disks: Vec<_> = disks.filter(helps).collect();
    let is_known = |device: &DeviceView| device.udev_done() && device.device.wwid.as_ref() == Some(wwid);
    let Some((_, block)) = disks.iter().find(|(device, _)| is_known(device)) else {
        if !disks.is_empty() {
            draft.wait("udev to finish with the first disk", Some(view.next_look()));
        }
        return;
    };
    met!(FormMap);
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

/// multipathd has said of this disk, which udev is done with, that its configuration excludes it.
fn blacklisted(device: &BlockName, view: &View<'_>) -> bool {
    let excluded = matches!(view.ledger.last(&Step::AddPath(device.clone())), Some((_, Ending::Final(_))));
    if excluded {
        met!(Blacklisted);
    }
    excluded
}

/// What multipathd answered when it was asked for the map, or for a path of it that it will never take.
pub fn why_no_map(view: &View<'_>) -> Option<String> {
    let answers = view.ledger.entries().iter().rev().filter_map(|entry| match (&entry.step, &entry.ended) {
        (Step::AddMap(_) | Step::AddPath(_), Some((_, ending))) if !ending.is_ok() => Some(ending),
        _ => None,
    });
    let (never, not_now): (Vec<_>, Vec<_>) = answers.partition(|ending| matches!(ending, Ending::Final(_)));
    never.into_iter().chain(not_now).next().map(Ending::reason)
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
            met!(SingleInstead);
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
    let mut error = Error::new(ErrorKind::NotAttached, "no usable multipath map could be formed");
    for (path, p) in progress {
        if let Progress::Failed(why) = p {
            error = error.cause(format!("{}: {why}", path.endpoint));
        }
    }
    for what in draft.unfinished() {
        error = error.cause(format!("still waiting for {what}"));
    }
    error = why_no_map(view).filter(|_| view.topology.map.is_none()).into_iter().fold(error, Error::cause);
    let answers = |path: &WantedPath| view.topology.session(&path.endpoint).is_some_and(SessionView::usable);
    Decision::Refused(error.hint(match goal.paths.iter().any(answers) {
        true => "see what multipathd says of the device: multipathd show paths; is it blacklisted?",
        false => {
            "every session has lost its connection: check that the portals can be reached from this host"
        }
    }))
}
