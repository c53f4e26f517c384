//! What a detach tells in the end: what is left, and why.

use std::collections::BTreeMap;

use bowline_host::iscsi::TornSession;
use bowline_host::{MapName, Wwid};

use super::release::entries_beside;
use super::{Detach, going};
use crate::plan::ours::Ours;
use crate::plan::{Step, View};
use crate::sabotage::sabotaged;
use crate::topology::Beside;

/// What is still there, one line each (D9).
pub fn leftovers(goal: &Detach, view: &View<'_>) -> Vec<String> {
    let mut left = Vec::new();
    if sabotaged!(SayClean) {
        return left;
    }
    let ours = Ours::of(goal, view);
    if let Some(map) = ours.map {
        left.push(format!("multipath map {} ({})", map.map.name, map.map.wwid));
    }
    left.extend(ours.beside.iter().map(|map| format!("multipath map {} ({})", map.name, map.wwid)));
    if ours.whole {
        left.extend(entries_beside(goal, view).map(|wwid| format!("wwids entry {wwid}")));
        left.extend(view.topology.layers.iter().map(ToString::to_string));
    }
    for device in ours.with_those_below_beside(goal, view) {
        left.push(match device.block() {
            Some(block) => format!("SCSI device {} ({})", block.name, device.device.hctl),
            None => format!("SCSI device {}", device.device.hctl),
        });
    }
    left.extend(going(goal, view).map(|hctl| format!("SCSI device {hctl}, which is on its way out")));
    if view.topology.wwid_on_file && !goal.keep_wwid && ours.whole {
        left.extend(goal.wwid.as_ref().map(|wwid| format!("wwids entry {wwid}")));
    }
    let mut torn: Vec<&TornSession> = Vec::new();
    for path in &goal.paths {
        let mine = view.claims_it(&path.endpoint);
        // A session that nobody claimed is ours to end once we have taken its device.
        let step = Step::Release(path.endpoint.clone());
        let tried = view.ledger.failures(&step) > 0 && !view.ledger.succeeded(&step);
        if !mine && !tried {
            continue;
        }
        let before = left.len();
        match view.topology.session(&path.endpoint) {
            Some(session) => left.push(format!("session {} to {}", session.session.sid, path.endpoint)),
            None => torn.extend(view.topology.torn.iter().filter(|torn| torn.iqn == path.endpoint.iqn)),
        }
        if view.topology.record(&path.endpoint).is_some() {
            left.push(format!("node record of {}", path.endpoint));
        } else if view.ledger.running(&Step::PrepareRecord(path.endpoint.clone())) {
            // An iscsiadm that waits for its database's lock makes it when it gets that.
            left.push(format!("node record of {}, which is being made", path.endpoint));
        }
        if mine && left.len() == before {
            // It keeps the next attachment's last one from logging out.
            left.push(format!("bowline's own claim on {}", path.endpoint));
        }
    }
    torn.sort_by_key(|torn| torn.sid);
    torn.dedup();
    left.extend(torn.into_iter().map(|TornSession { sid, iqn }| {
        format!("session {sid} to {iqn}, whose connection has gone: iscsid was ending it")
    }));
    left
}

/// What has come of what this connect has done and is not ours to take away, one line each: a map that multipathd made because the
/// identity was claimed, in which it has put a disk of somebody else's, with its entry. Whoever removes the map takes it from him.
pub fn given_up(goal: &Detach, view: &View<'_>) -> Vec<String> {
    let has_claimed = |wwid: &Wwid| {
        let tried = view.ledger.tries(&Step::ClaimWwid(wwid.clone())).next().is_some();
        tried && view.topology.wwid_on_file && !goal.keep_wwid
    };
    let map = view.topology.map.as_ref().filter(|map| !map.strangers.is_empty());
    map.filter(|map| has_claimed(&map.map.wwid))
        .into_iter()
        .flat_map(|map| {
            let (name, wwid) = (&map.map.name, &map.map.wwid);
            [
                format!("multipath map {name} ({wwid}), which has taken in disks of others"),
                format!("wwids entry {wwid}"),
            ]
        })
        .collect()
}

/// What became of maps of other volumes that the LUN led to in between, one line each.
pub fn maps_beside(view: &View<'_>) -> Vec<String> {
    let tried = view.ledger.entries().iter().filter_map(|entry| match &entry.step {
        Step::RemoveMap { name, wwid } => Some((wwid, name)),
        _ => None,
    });
    let tried: BTreeMap<&Wwid, &MapName> = tried.collect();
    let tell = |(wwid, found): (&Wwid, &Beside)| match (&found.map, tried.get(wwid)) {
        (Some(map), _) => {
            Some(format!("map {} of volume {wwid} is at its LUN, and stays: somebody uses it", map.name))
        }
        (None, Some(name)) => {
            Some(format!("map {name} of volume {wwid}, which the LUN led to in between, went as well"))
        }
        (None, None) => None,
    };
    view.topology.beside.iter().filter_map(tell).collect()
}

/// Why, for every step that failed for good: the last failure only (D10).
pub fn failures(view: &View<'_>) -> Vec<String> {
    let mut seen: Vec<&Step> = Vec::new();
    let failed = view.ledger.entries().iter().rev().filter(|entry| {
        let first = !seen.contains(&&entry.step);
        seen.push(&entry.step);
        first
    });
    let mut lines: Vec<String> = failed
        .filter_map(|entry| {
            let (_, ending) = entry.ended.as_ref()?;
            let cleaning = matches!(
                entry.step,
                Step::RemoveMap { .. }
                    | Step::RemoveLayer(_)
                    | Step::DeleteDevice { .. }
                    | Step::ForgetPaths(_)
                    | Step::ForgetWwid(_)
                    | Step::Release(_)
                    | Step::Sync { .. }
                    | Step::StopQueueing(_)
                    | Step::FailPath { .. }
            );
            (cleaning && !ending.is_ok()).then(|| format!("{}: {}", entry.step, ending.reason()))
        })
        .collect();
    lines.reverse();
    lines
}
