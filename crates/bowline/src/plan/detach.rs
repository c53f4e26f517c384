//! Back again: the same rules clean up after a disconnect, a failed connect and a crash (D1).
//!
//! Order is safety: nobody uses it, data is flushed, the map goes, the devices go, multipathd and the wwids file
//! forget, and only then do sessions and records go (D14). Each rule asks the observation whether the one
//! before it has come true.

mod flush;
mod map;
mod refusal;
mod release;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_host::iscsi::Endpoint;
use bowline_host::{Hctl, Moment, Wwid};

pub(crate) use self::refusal::telling_losses;
pub use self::tell::{failures, given_up, leftovers, maps_beside};

use self::flush::flush_disks;
use self::map::{remove_beside, remove_layers, remove_map};
use self::refusal::refusal;
use self::release::{forget, release};
use super::ours::{self, Ours};
use super::{Decision, Draft, Step, View};
use crate::connection::WantedPath;
use crate::journal::Attachment;
use crate::policy::OnDirty;
use crate::sabotage::met;
use crate::topology::SessionView;

/// The goal of a disconnect, and of every clean-up.
#[derive(Debug, Clone)]
pub struct Detach {
    /// The volume's paths.
    pub paths: Vec<WantedPath>,
    /// Its identity, where it is known.
    pub wwid: Option<Wwid>,
    /// What becomes of data that cannot be written.
    pub on_dirty: OnDirty,
    /// The map is gone and was flushed before it went: its disks hold no data of ours (journal).
    pub flushed: bool,
    /// The wwids file had the identity before us.
    pub keep_wwid: bool,
    /// Other identities that this attachment has brought in, and whether the wwids file had them before us (journal).
    pub beside: BTreeMap<Wwid, bool>,
    /// Endpoints whose sessions others made, and below which a process that died has scanned for this volume (journal).
    pub scanned: BTreeSet<Endpoint>,
    /// How many tries a flush has.
    pub flush_tries: u32,
    /// A disk itself was handed out, so disks hold data of their own also where a map has been made upon them since (journal).
    pub bare: bool,
    /// When the map was last seen in a last close: a flush that began before is not the last word on what was written.
    pub closing: Option<Moment>,
}

impl Default for Detach {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            wwid: None,
            on_dirty: OnDirty::Refuse,
            flushed: false,
            keep_wwid: false,
            beside: BTreeMap::new(),
            scanned: BTreeSet::new(),
            flush_tries: 3,
            bare: false,
            closing: None,
        }
    }
}

impl Detach {
    /// The goal of taking apart what an attachment was written down as, if it was.
    pub(crate) fn of(journal: Option<&Attachment>, on_dirty: OnDirty) -> Self {
        let Some(journal) = journal else { return Self { on_dirty, ..Self::default() } };
        Self {
            paths: journal.paths.clone(),
            wwid: journal.wwid.clone(),
            on_dirty,
            flushed: journal.flushed,
            keep_wwid: journal.keep_wwid,
            beside: journal.beside.clone(),
            scanned: journal.scanned.clone(),
            bare: journal.bare,
            ..Self::default()
        }
    }

    /// Whether a step removes the volume's own map, and not one beside it.
    pub(crate) fn removes_own_map(&self, step: &Step) -> bool {
        matches!(step, Step::RemoveMap { wwid, .. } if !self.beside.contains_key(wwid))
    }
}

/// Tries of every other clean-up step.
const TRIES: u32 = 3;

/// What to do next.
pub fn plan(goal: &Detach, view: &View<'_>) -> Decision {
    let mut draft = Draft::default();
    match refusal(goal, view) {
        Some(error) => Decision::Refused(error),
        None => match steps(goal, view, &mut draft) {
            true => Decision::Done,
            false => draft.act(),
        },
    }
}

/// Adds what is to be done; true when nothing is left to do, or nothing that could still succeed.
pub(crate) fn steps(goal: &Detach, view: &View<'_>, draft: &mut Draft) -> bool {
    let ours = Ours::of(goal, view);
    let go_on = remove_map(goal, &ours, view, draft);
    let removing = !draft.is_empty();
    if go_on
        && flush_disks(goal, &ours, view, draft)
        && remove_beside(goal, &ours, view, draft)
        && (!ours.whole || removing || remove_layers(goal, view, draft))
    {
        delete_devices(&ours, view, draft);
        if ours.devices.is_empty() && ours.whole && !removing {
            forget(goal, view, draft);
        }
        release(goal, &ours, view, draft);
    }
    for hctl in going(goal, view) {
        // A logout does not wait for it: it ends what the disk's driver waits for.
        met!(DiskLingers);
        draft.wait(format!("the disk of {hctl} to go"), Some(view.now + Duration::from_millis(50)));
    }
    draft.is_empty()
}

/// Disks at these paths that are on their way out, whoever has begun that: what would show whose they are is gone.
fn going<'a>(goal: &Detach, view: &View<'a>) -> impl Iterator<Item = &'a Hctl> {
    let of_goal =
        |session: &&SessionView| goal.paths.iter().any(|path| path.endpoint == session.session.endpoint);
    view.topology.sessions.iter().filter(of_goal).flat_map(|session| &session.going)
}

/// Every device of the volume goes, also one that is in no map (D3), all at once (D5).
fn delete_devices(ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) {
    for device in &ours.devices {
        if draft.want(view, Step::delete(device), TRIES, Duration::from_millis(500)) {
            draft.wait(
                format!("device {} to go", device.device.hctl),
                Some(view.now + Duration::from_millis(200)),
            );
        }
    }
}

/// The identity of what is ours to take away, as it shows; not that of a stale device beside it.
pub(crate) fn shown(goal: &Detach, view: &View<'_>) -> Option<Wwid> {
    let ours = Ours::of(goal, view);
    let told = ours.devices.iter().find_map(|device| device.device.wwid.clone());
    told.or(ours.map.map(|map| map.map.wwid.clone()))
}

/// Identities that this attachment has brought in beside the volume's own, and whether udev was done with their disks.
pub(crate) fn shown_beside<'a>(goal: &Detach, view: &View<'a>) -> impl Iterator<Item = (&'a Wwid, bool)> {
    ours::beside(goal, view).filter_map(|device| Some((device.device.wwid.as_ref()?, device.udev_done())))
}
