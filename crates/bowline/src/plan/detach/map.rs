//! The map, and what lies upon it: removed once it is flushed and nobody but those that pass by has it open.

use std::time::Duration;

use bowline_host::dm::Map;
use bowline_host::layers::Kind;
use bowline_host::openers::Opener;

use super::flush::all_flushed;
use super::refusal::users;
use super::{Detach, TRIES};
use crate::plan::ours::Ours;
use crate::plan::{Draft, Step, View};
use crate::policy::OnDirty;
use crate::sabotage::{met, sabotaged};
use crate::topology::MapView;

/// Openers that pass by (udev's workers, multipathd) get this long.
const OPENER_PATIENCE: Duration = Duration::from_secs(60);
/// Then those that read the map slowly are told of errors: udev ends a worker that takes three minutes, and what that one
/// had under way is never tidied up.
const READER_PATIENCE: Duration = Duration::from_secs(15);
/// So often a path is failed again that multipathd finds to be well.
const FAIL_TRIES: u32 = 20;
/// While multipathd removes the map it is looked at this often.
const SEEN_WITHIN: Duration = Duration::from_millis(200);
/// A map that multipathd makes has its identity by then.
const FORMING_PATIENCE: Duration = Duration::from_secs(10);
/// Tries to remove a map: it is refused while udev holds it for a moment.
const REMOVE_TRIES: u32 = 40;
/// What was never handed out goes without waiting longer than this for a map that udev reads: its reads end with its disks.
const HELD_PATIENCE: Duration = Duration::from_secs(3);
/// Tries to remove a map that a user has open, where the data is given up: it may just be closing.
const USED_TRIES: u32 = 3;

/// The map goes first: flushed, then removed. True once it is gone (or cannot be removed, not soon or not at all, and the
/// data was never there or is given up).
pub(super) fn remove_map(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let Some(map) = ours.map.filter(|_| !sabotaged!(KeepMap)) else {
        // No mark: no history of a quarter of a million meets it. A unit test does (d7_a_map_that_multipathd_makes_anew_…), as the laboratory has.
        if forming(goal, view) {
            draft.wait(
                "the removed map to go, or multipathd's new one to show",
                Some(view.now + Duration::from_millis(50)),
            );
            return false;
        }
        return true;
    };
    let disks = goal.bare.then(|| ours.disks()).into_iter().flatten();
    let devices = std::iter::once((map.map.block_name(), map.map.number)).chain(disks);
    if goal.on_dirty != OnDirty::NothingWritten && !all_flushed(goal, devices, view, draft) {
        return false;
    }
    fail_readers(goal, ours, map, view, draft);
    let tries = if users(view).next().is_some() { USED_TRIES } else { REMOVE_TRIES };
    let held = waits_for_its_disks(goal, &map.map, view, draft);
    if stuck(goal, map, view) {
        met!(Stuck);
        if !stopped_queueing(&map.map, tries, view, draft) && !held {
            return false;
        }
    }
    if !remove_layers(goal, view, draft) || !quiet(map, view, draft) {
        return false;
    }
    let trying = draft.want(view, removal(&map.map), tries, Duration::from_millis(50));
    if goal.on_dirty != OnDirty::NothingWritten && view.ledger.running(&removal(&map.map)) {
        // Who opens it now and writes is seen only while he has it open.
        draft.look_again(view.now + SEEN_WITHIN);
    }
    match goal.on_dirty {
        // Where data counts, nothing is taken apart below a map that will not go.
        OnDirty::Refuse => false,
        OnDirty::Discard if !trying => {
            met!(TakenByForce);
            true
        }
        OnDirty::Discard => false,
        OnDirty::NothingWritten => !trying || held,
    }
}

fn removal(map: &Map) -> Step {
    Step::RemoveMap { name: map.name.clone(), wwid: map.wwid.clone() }
}

/// Whether a map that was never handed out has been asked to go for long enough: whoever holds it waits for its disks, and so
/// may multipathd (it asks each disk for its state before it does anything else), which go then.
fn waits_for_its_disks(goal: &Detach, map: &Map, view: &View<'_>, draft: &mut Draft) -> bool {
    if goal.on_dirty != OnDirty::NothingWritten {
        return false;
    }
    let asked = [Step::StopQueueing(map.name.clone()), removal(map)];
    let first = asked.iter().filter_map(|step| view.ledger.tries(step).next()).map(|entry| entry.began).min();
    let until = first.unwrap_or(view.now) + HELD_PATIENCE;
    if view.now < until {
        draft.look_again(until);
    }
    view.now >= until
}

/// What was mapped beside the volume goes next. True once it is gone, or will not go: then it is left alone, and so are its
/// disks where data counts.
pub(super) fn remove_beside(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let removing = ours.beside.iter().filter(|map| {
        met!(Beside);
        let held = waits_for_its_disks(goal, map, view, draft);
        // Its paths may be gone already, and udev reads it all the same.
        if map.waits_for_a_path() && !stopped_queueing(map, REMOVE_TRIES, view, draft) && !held {
            return true;
        }
        draft.want(view, removal(map), REMOVE_TRIES, Duration::from_millis(50)) && !held
    });
    removing.count() == 0
}

/// Whether what holds the disks is the map that was just removed. While it goes, it holds them and has no identity any
/// more. And multipathd may make it anew: a path whose event it had not dealt with yet makes it do so, and while the new
/// map comes into being it has no identity yet; then it is removed again.
pub(super) fn forming(goal: &Detach, view: &View<'_>) -> bool {
    let removal = view.ledger.entries().iter().rev().find(|entry| goal.removes_own_map(&entry.step));
    let lately = removal.is_some_and(|entry| {
        entry.ended.as_ref().is_none_or(|(when, _)| view.now.since(*when) < FORMING_PATIENCE)
    });
    view.topology.map.is_none()
        && lately
        && view.topology.openers.iter().any(|opener| matches!(opener, Opener::Holder(_)))
}

/// With no path left, a map that queues holds its I/O back, for ever if it was told so, and with it whoever waits for
/// that I/O and keeps the map open. Where data counts this is asked only after a flush has succeeded and when only those
/// that pass by have it open: what is given up then are their reads.
fn stuck(goal: &Detach, map: &MapView, view: &View<'_>) -> bool {
    let held = goal.on_dirty != OnDirty::Refuse || only_read(goal, view);
    held && map.map.waits_for_a_path()
}

/// Whether the map is held by those that pass by, and by nobody whose data counts: neither by a user, nor by a last close, whose
/// write-back /proc does not show (a user may have come and gone since the flush).
fn only_read(goal: &Detach, view: &View<'_>) -> bool {
    read_in_passing(view) && (goal.on_dirty != OnDirty::Refuse || !view.topology.closing)
}

/// Whether somebody is seen to have it open, and all who are pass by.
fn read_in_passing(view: &View<'_>) -> bool {
    !view.topology.openers.is_empty() && users(view).next().is_none()
}

/// True once it does not queue any more, or multipathd was asked often enough. As long as the map's removal is tried, so many times,
/// it is asked on beside what follows: it may be busy with the very disks that go next, and without it whoever reads the map
/// keeps it.
fn stopped_queueing(map: &Map, removals: u32, view: &View<'_>, draft: &mut Draft) -> bool {
    let step = Step::StopQueueing(map.name.clone());
    let removing = view.ledger.failures(&removal(map)) < removals;
    let tries = if removing { REMOVE_TRIES } else { TRIES };
    view.ledger.succeeded(&step)
        || !draft.want(view, step.clone(), tries, Duration::from_millis(200))
        || view.ledger.failures(&step) >= TRIES
}

/// Where most packets are lost udev reads the map for minutes. Once it is flushed and nobody but those that pass by has it
/// open, its paths are failed (and then its queueing stopped, see [`stuck`]): what is given up are their reads.
fn fail_readers(goal: &Detach, ours: &Ours<'_>, map: &MapView, view: &View<'_>, draft: &mut Draft) {
    let waits = goal.on_dirty != OnDirty::NothingWritten && only_read(goal, view);
    if !waits || waited(map, view) < READER_PATIENCE {
        return;
    }
    for block in ours.devices.iter().filter_map(|device| device.block()) {
        if map.is_active(block.number) {
            met!(FailReaders);
            let (map, device) = (map.map.name.clone(), block.name.clone());
            let step = Step::FailPath { map, device, number: block.number };
            draft.want(view, step, FAIL_TRIES, Duration::from_millis(200));
        }
    }
}

/// How long the map has been ready to go: since its flush ended.
fn waited(map: &MapView, view: &View<'_>) -> Duration {
    let sync = Step::Sync { device: map.map.block_name(), number: map.map.number };
    view.ledger.last(&sync).map_or(Duration::ZERO, |(when, _)| view.now.since(when))
}

/// Openers that pass by hold the map for a moment: wait for them. They only read, so a flush need not wait.
fn quiet(map: &MapView, view: &View<'_>, draft: &mut Draft) -> bool {
    // A user does not pass by: either that was refused, or its device is taken away whether it closes or not.
    if !read_in_passing(view) || waited(map, view) > OPENER_PATIENCE {
        return true;
    }
    met!(PassersBy);
    let names: Vec<String> = view.topology.openers.iter().map(ToString::to_string).collect();
    draft.wait(
        format!("{} to close map {}", names.join(", "), map.map.name),
        Some(view.now + Duration::from_millis(100)),
    );
    false
}

/// LVM activates what it finds upon a volume that appears, unasked. Where the data is given up (D8), or the volume was
/// never handed out (C1), such a logical volume goes too, if nobody has it open: the kernel refuses the others, which
/// are named in the end (D9). True once nothing of that is tried any more.
pub(super) fn remove_layers(goal: &Detach, view: &View<'_>, draft: &mut Draft) -> bool {
    if goal.on_dirty == OnDirty::Refuse {
        return true;
    }
    let logical = view.topology.layers.iter().filter(|layer| matches!(layer.kind, Kind::Logical { .. }));
    let removing = logical.filter(|layer| {
        draft.want(view, Step::RemoveLayer((*layer).clone()), TRIES, Duration::from_millis(200))
    });
    removing.count() == 0
}
