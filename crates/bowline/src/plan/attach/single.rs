//! One path, and never two: the portals are tried in turn.

use std::time::Duration;

use bowline_host::Moment;

use super::{Attach, no_path, prove, read_device, read_from};
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::plan::detach::{self, Detach};
use crate::plan::path::Progress;
use crate::plan::{Decision, Draft, Step, View};
use crate::policy::OnDirty;
use crate::sabotage::met;
use crate::topology::DeviceView;

/// Longer than multipath waits for a second path.
const SMART_PATIENCE: Duration = Duration::from_secs(15);

/// The portals are tried in turn, and one that did not work is cleaned up before the next is tried, so that two
/// paths of one volume never exist side by side (C14).
pub(super) fn plan(goal: &Attach, progress: &[(&WantedPath, Progress<'_>)], view: &View<'_>) -> Decision {
    // A portal that was tried and let go of has nothing of ours: what hangs below its session is others'.
    let held = |path: &&WantedPath| view.claims_it(&path.endpoint);
    let device = |path: &WantedPath| view.topology.device(path);
    if goal.live && (goal.paths.iter().any(|path| device(path).is_some()) || view.topology.map.is_some()) {
        return live_single(goal, goal.paths.iter().filter(held).find_map(device), view);
    }
    let mut waiting = Vec::new();
    for (path, progress) in progress {
        let mut draft = Draft::default();
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
                draft.wait("udev to finish with the disk", Some(view.next_look()));
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
            if !spent {
                waiting = draft.unfinished();
            }
            break;
        }
        draft.wait("the goal", Some(goal.deadline));
        return draft.act();
    }
    Decision::Refused(no_path(progress, &waiting, view))
}

/// The disk of a live attachment stays the one, whether it can be read now or not: it may hold data that is not
/// written yet, and another path beside it would be a second one (C14, C16).
fn live_single(goal: &Attach, device: Option<&DeviceView>, view: &View<'_>) -> Decision {
    met!(LiveSingle);
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
        met!(MappedAnyway);
        if read_from(map, view).is_some() {
            return Some(true);
        }
        return prove(draft, map, view).then_some(false);
    }
    if device.claimed_by_multipath() && !(device.claimed_for_now() && waited(device, view)) {
        draft.wait("multipathd to map the disk", Some(view.now + Duration::from_millis(500)));
        return Some(false);
    }
    match read_device(device, view)? {
        Ok(()) => heard(draft, device, view),
        Err(steps) => {
            draft.wait("a first read", None);
            draft.steps.extend(steps);
            Some(false)
        }
    }
}

/// Only when multipathd has made up its mind about a disk that is new does "there is no map" mean that there will be none.
fn heard(draft: &mut Draft, device: &DeviceView, view: &View<'_>) -> Option<bool> {
    let step = Step::HearMultipathd(device.block()?.name.clone());
    if scanned(device, view).is_none() || view.ledger.succeeded(&step) {
        return Some(true);
    }
    draft.want(view, step, 3, Duration::from_millis(500)).then_some(false)
}

/// Whether a second path has had its time to come (`find_multipaths smart`; by default multipath waits 1 s for one, and
/// 10 s with hardware that it knows). Only a timer of systemd's ends the claim, so that it may never end.
fn waited(device: &DeviceView, view: &View<'_>) -> bool {
    scanned(device, view).is_some_and(|when| view.now.since(when) > SMART_PATIENCE)
}

/// When the scan that found the disk was begun, if it was ours.
fn scanned(device: &DeviceView, view: &View<'_>) -> Option<Moment> {
    let hctl = device.device.hctl;
    let is_scan = |step: &Step| matches!(step, Step::Scan { scsi_host, lun, .. } if *scsi_host == hctl.host && *lun == hctl.lun);
    view.ledger.entries().iter().rev().find(|entry| is_scan(&entry.step)).map(|entry| entry.began)
}

/// The clean-up of one portal of a single-path attach.
fn cleaning(path: &WantedPath) -> Detach {
    Detach { paths: vec![path.clone()], wwid: None, on_dirty: OnDirty::NothingWritten, ..Detach::default() }
}
