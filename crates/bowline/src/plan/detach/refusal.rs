//! What forbids to go on: users, maps that are not the volume's alone, data that cannot be written.

use std::collections::BTreeSet;

use bowline_host::dm::Map;
use bowline_host::layers::{Kind, Layer};
use bowline_host::names::BlockName;
use bowline_host::openers::Opener;

use super::Detach;
use super::map::forming;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Ending, Ledger};
use crate::plan::{Step, View};
use crate::policy::OnDirty;
use crate::sabotage::{met, sabotaged};
use crate::topology::DeviceView;

/// What forbids to go on, everything being intact so far (D7).
pub(super) fn refusal(goal: &Detach, view: &View<'_>) -> Option<Error> {
    foreign(goal, view).or_else(|| in_use(goal, view)).or_else(|| flush_failed(goal, view))
}

/// A map with devices that are not of this connection is not ours alone; one of another volume, which was at the LUN before
/// and whose devices say so, is none of our business. (The clean-up of a connect leaves such a map
/// alone, and takes its own devices out.)
fn foreign(goal: &Detach, view: &View<'_>) -> Option<Error> {
    if goal.on_dirty == OnDirty::NothingWritten {
        return None;
    }
    let devices = || view.topology.devices_of(&goal.paths);
    let holds_ours = |map: &&Map| {
        let held = |device: &&DeviceView| device.block().is_some_and(|block| map.has(block.number));
        devices().filter(held).any(|device| !view.topology.is_strangers(device, goal.wwid.as_ref()))
    };
    if let Some(map) = view.topology.foreign_maps.iter().find(holds_ours) {
        return Some(
            Error::new(
                ErrorKind::Refused,
                format!("map {} holds a device of this volume, but is volume {}", map.name, map.wwid),
            )
            .hint("the LUN was reused while a stale device was there; find out whose map it is"),
        );
    }
    let map = view.topology.map.as_ref()?;
    map.strangers.first().map(|number| {
        Error::new(
            ErrorKind::Refused,
            format!("map {} has a path ({}) that is not of this connection", map.map.name, number),
        )
        .hint("disconnect with the connection properties the volume was connected with")
    })
}

/// A live user is named and refused; openers that pass by are waited for (D7). Where the data is given up, the user's
/// device is taken away under it (D8); what was never handed out has no users.
fn in_use(goal: &Detach, view: &View<'_>) -> Option<Error> {
    if goal.on_dirty != OnDirty::Refuse || forming(goal, view) {
        return None;
    }
    let users: Vec<String> = users(view).map(ToString::to_string).collect();
    if users.is_empty() || sabotaged!(OverlookUsers) {
        return None;
    }
    met!(InUse);
    let name = match &view.topology.map {
        Some(map) => format!("map {}", map.map.name),
        None => "the device".to_owned(),
    };
    let mut error = Error::new(ErrorKind::Refused, format!("{name} is in use"));
    for user in users {
        error = error.cause(user);
    }
    error = telling_losses(error, view.ledger);
    let groups = active_groups(view);
    if groups.is_empty() {
        return Some(error.hint("unmount it or end the process, then disconnect again; nothing was changed"));
    }
    let deactivate: Vec<String> = groups.iter().map(|group| format!("vgchange -an {group}")).collect();
    Some(
        error
            .hint(format!(
                "unmount what is mounted and deactivate it ({}), then disconnect again; nothing was changed",
                deactivate.join(" && ")
            ))
            .hint(
                "if nobody activated it, LVM did when the volume appeared: keep LVM off attached volumes \
                 (global_filter or a devices file, see lvm.conf)",
            ),
    )
}

/// The kernel tells of a lost write once, so it is passed on also where there is another reason to stop (D11).
pub(crate) fn telling_losses(error: Error, ledger: &Ledger) -> Error {
    ledger.lost_writes().fold(error, |error, (device, step, ending)| {
        error.cause(format!("a write to {device} is lost: {step}: {}", ending.reason()))
    })
}

/// The volume groups of the logical volumes that lie upon the volume.
fn active_groups<'a>(view: &View<'a>) -> BTreeSet<&'a str> {
    let group = |layer: &'a Layer| match &layer.kind {
        Kind::Logical { group, .. } => Some(group.as_str()),
        _ => None,
    };
    view.topology.layers.iter().filter_map(group).collect()
}

pub(super) fn users<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Opener> {
    view.topology.openers.iter().filter(|opener| !opener.passes_by())
}

/// A flush that failed for good: an I/O error at once, since the kernel reports a lost write only once (D11);
/// a time-out after its tries.
fn flush_failed(goal: &Detach, view: &View<'_>) -> Option<Error> {
    if goal.on_dirty != OnDirty::Refuse {
        return None;
    }
    view.ledger.entries().iter().find_map(|entry| {
        let (Step::Sync { device, .. }, Some((_, ending))) = (&entry.step, &entry.ended) else { return None };
        let over = match ending {
            Ending::Final(_) => true,
            Ending::TimedOut(_) | Ending::Failed(_) | Ending::Host(_) | Ending::Skipped(_) => {
                view.ledger.failures(&entry.step) >= goal.flush_tries
            }
            Ending::Ok => false,
        };
        if over {
            met!(FlushFailed);
        }
        over.then(|| not_flushed(device, &entry.step, ending, view))
    })
}

/// Which of the ways a flush fails it was (D7): a write that is lost already, a last close that hangs (its process is
/// exiting, so /proc shows no descriptor any more, but the kernel still counts it), or a cache that cannot reach the
/// target.
fn not_flushed(device: &BlockName, step: &Step, ending: &Ending, view: &View<'_>) -> Error {
    let tries = view.ledger.tries(step).count();
    let message = match (ending, &view.topology.map) {
        (Ending::Final(_), _) => format!("a write to {device} is lost: the flush says so"),
        (_, Some(map)) if view.topology.close_hangs => {
            format!("a last close of map {} hangs in its write-back, so it cannot be flushed", map.map.name)
        }
        _ => format!("what was written to {device} cannot reach the target, so it cannot be flushed"),
    };
    let hint = match ending {
        Ending::Final(_) => {
            "what is lost is gone for good: check what is on the volume or write it anew; another disconnect \
                             detaches it and says that data may be lost"
        }
        _ => "bring its paths back and disconnect again, or give the data up with --force",
    };
    Error::new(ErrorKind::Refused, message)
        .cause(format!("{step}, tried {tries} times: {}", ending.reason()))
        .hint(hint)
}
