//! Back again: the same rules clean up after a disconnect, a failed connect and a crash (D1).
//!
//! Order is safety: nobody uses it, data is flushed, the map goes, the devices go, multipathd and the wwids file
//! forget, and only then do sessions and records go (D14). Each rule asks the observation whether the one
//! before it has come true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_host::dm::Map;
use bowline_host::iscsi::Endpoint;
use bowline_host::layers::{Kind, Layer};
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::openers::Opener;
use bowline_host::{Hctl, MapName, Wwid};

use super::ours::{self, Ours};
use super::{Decision, Draft, Step, View};
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::journal::Attachment;
use crate::ledger::{Ending, Ledger};
use crate::policy::OnDirty;
use crate::sabotage::{met, sabotaged};
use crate::topology::{Beside, DeviceView, MapView, SessionView};

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

/// Openers that pass by (udev's workers, multipathd) get this long.
const OPENER_PATIENCE: Duration = Duration::from_secs(60);
/// Then those that read the map slowly are told of errors: udev ends a worker that takes three minutes, and what that one
/// had under way is never tidied up.
const READER_PATIENCE: Duration = Duration::from_secs(15);
/// So often a path is failed again that multipathd finds to be well.
const FAIL_TRIES: u32 = 20;
/// A map that multipathd makes has its identity by then.
const FORMING_PATIENCE: Duration = Duration::from_secs(10);
/// Tries to remove a map: it is refused while udev holds it for a moment.
const REMOVE_TRIES: u32 = 40;
/// What was never handed out goes without waiting longer than this for a map that udev reads: its reads end with its disks.
const HELD_PATIENCE: Duration = Duration::from_secs(3);
/// Tries to remove a map that a user has open, where the data is given up: it may just be closing.
const USED_TRIES: u32 = 3;
/// Tries to release an endpoint: a login that outlived its process must end first (8 tries take 25 s).
const RELEASE_TRIES: u32 = 8;
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

/// What forbids to go on, everything being intact so far (D7).
fn refusal(goal: &Detach, view: &View<'_>) -> Option<Error> {
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

fn users<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Opener> {
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
        (_, Some(map)) if closing(map, view) => {
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

/// Whether the map or a partition of it is open more often than anybody was found to have it open; each partition's map
/// has it open once.
fn closing(map: &MapView, view: &View<'_>) -> bool {
    let layers = &view.topology.layers;
    let parts = layers.iter().filter(|layer| matches!(layer.kind, Kind::PartitionMap(_))).count();
    let opens = map.map.open_count + layers.iter().map(|layer| layer.open_count).sum::<u32>();
    opens as usize > view.topology.openers.len() + parts
}

/// The map goes first: flushed, then removed. True once it is gone (or cannot be removed, not soon or not at all, and the
/// data was never there or is given up).
fn remove_map(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let Some(map) = ours.map.filter(|_| !sabotaged!(KeepMap)) else {
        if forming(goal, view) {
            met!(Forming);
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
    let held = is_held(goal, &map.map, view, draft);
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
fn is_held(goal: &Detach, map: &Map, view: &View<'_>, draft: &mut Draft) -> bool {
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
fn remove_beside(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let removing = ours.beside.iter().filter(|map| {
        met!(Beside);
        let held = is_held(goal, map, view, draft);
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
fn forming(goal: &Detach, view: &View<'_>) -> bool {
    let removal = view.ledger.entries().iter().rev().find(|entry| goal.removes_own_map(&entry.step));
    let lately = removal.is_some_and(|entry| {
        entry.ended.as_ref().is_none_or(|(when, _)| view.now.since(*when) < FORMING_PATIENCE)
    });
    view.topology.map.is_none()
        && lately
        && view.topology.openers.iter().any(|opener| matches!(opener, Opener::Holder(_)))
}

/// With no path left, a map that queues holds its I/O back, for ever if it was told so, and with it whoever waits for
/// that I/O and keeps the map open. Where data counts this is asked only after a flush has succeeded and when nobody but
/// udev and multipathd has it open (a user is refused before): what is given up then are their reads.
fn stuck(goal: &Detach, map: &MapView, view: &View<'_>) -> bool {
    let held = goal.on_dirty != OnDirty::Refuse || !view.topology.openers.is_empty();
    held && map.map.waits_for_a_path()
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
    let waits = !view.topology.openers.is_empty() && users(view).next().is_none();
    if goal.on_dirty == OnDirty::NothingWritten || !waits || waited(map, view) < READER_PATIENCE {
        return;
    }
    for block in ours.devices.iter().filter_map(|device| device.block()) {
        if map.is_active(block.number) {
            met!(FailReaders);
            draft.want(view, Step::FailPath(block.name.clone()), FAIL_TRIES, Duration::from_millis(200));
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
    if view.topology.openers.is_empty() || users(view).next().is_some() {
        return true;
    }
    if waited(map, view) > OPENER_PATIENCE {
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

/// One successful flush is owed before anything is taken apart. Force tries once, and goes on.
fn flushed(goal: &Detach, device: BlockName, number: DevNumber, view: &View<'_>, draft: &mut Draft) -> bool {
    let step = Step::Sync { device, number };
    if view.ledger.succeeded(&step) || sabotaged!(SkipFlush) {
        return true;
    }
    let tries = if goal.on_dirty == OnDirty::Discard { 1 } else { goal.flush_tries };
    !draft.want(view, step, tries, Duration::from_secs(1))
}

/// Each layer upon a device has dirty pages of its own, and is told of its own lost writes: all of them are flushed with
/// it, side by side (D7).
fn all_flushed(
    goal: &Detach,
    devices: impl IntoIterator<Item = (BlockName, DevNumber)>,
    view: &View<'_>,
    draft: &mut Draft,
) -> bool {
    let layers = view.topology.layers.iter().map(|layer| (layer.name.clone(), layer.number));
    let all = layers.chain(devices);
    all.filter(|(name, number)| !flushed(goal, name.clone(), *number, view, draft)).count() == 0
}

/// LVM activates what it finds upon a volume that appears, unasked. Where the data is given up (D8), or the volume was
/// never handed out (C1), such a logical volume goes too, if nobody has it open: the kernel refuses the others, which
/// are named in the end (D9). True once nothing of that is tried any more.
fn remove_layers(goal: &Detach, view: &View<'_>, draft: &mut Draft) -> bool {
    if goal.on_dirty == OnDirty::Refuse {
        return true;
    }
    let logical = view.topology.layers.iter().filter(|layer| matches!(layer.kind, Kind::Logical { .. }));
    let removing = logical.filter(|layer| {
        draft.want(view, Step::RemoveLayer((*layer).clone()), TRIES, Duration::from_millis(200))
    });
    removing.count() == 0
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

/// Disks that were used without a map are flushed by themselves; true once they all are, since a flush that fails
/// must find every disk and session as it was (D7). Disks whose map was flushed and removed are not: what they could
/// still hold would be nobody's write.
fn flush_disks(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let mapped = goal.flushed || view.ledger.entries().iter().any(|entry| goal.removes_own_map(&entry.step));
    if mapped || goal.on_dirty == OnDirty::NothingWritten {
        return true;
    }
    met!(FlushDisks);
    // Every disk is asked about, also after one that is not flushed yet: they flush side by side.
    all_flushed(goal, ours.disks(), view, draft)
}

/// multipathd's memory and the wwids file keep nothing of the volume (C9).
fn forget(goal: &Detach, view: &View<'_>, draft: &mut Draft) {
    if sabotaged!(KeepWwid) {
        return;
    }
    for wwid in entries_beside(goal, view) {
        draft.want(view, Step::ForgetWwid(wwid.clone()), TRIES, Duration::from_millis(200));
    }
    let Some(wwid) = &goal.wwid else { return };
    let paths = Step::ForgetPaths(wwid.clone());
    let had_devices =
        view.ledger.entries().iter().any(|entry| matches!(entry.step, Step::DeleteDevice { .. }));
    // What it must have forgotten is asked for when the last disk is gone: that goes later than its SCSI device.
    if had_devices && going(goal, view).next().is_none() && !view.ledger.succeeded(&paths) {
        draft.want(view, paths, TRIES, Duration::from_millis(200));
    }
    if view.topology.wwid_on_file && !goal.keep_wwid {
        draft.want(view, Step::ForgetWwid(wwid.clone()), TRIES, Duration::from_millis(200));
    }
}

/// Entries of the wwids file that came with identities beside the volume's own. Where one has a map that stays, so does its entry.
fn entries_beside<'a>(goal: &'a Detach, view: &View<'_>) -> impl Iterator<Item = &'a Wwid> {
    let on_file = |wwid: &Wwid| {
        view.topology.beside.get(wwid).is_some_and(|found| found.on_file && found.map.is_none())
    };
    goal.beside.iter().filter(move |(wwid, kept)| !**kept && on_file(wwid)).map(|(wwid, _)| wwid)
}

/// An endpoint is released when its device is gone and nothing of ours runs there (D14). A session without a
/// claim goes too if we have just taken its device away and nobody else is on it (D4).
fn release(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) {
    for path in &goal.paths {
        let endpoint = &path.endpoint;
        let busy = view.ledger.entries().iter().any(|entry| {
            entry.ended.is_none()
                && match &entry.step {
                    Step::PrepareRecord(e) | Step::Login(e) => e == endpoint,
                    Step::Scan { endpoint: e, .. } => e == endpoint && !cut_off(endpoint, view),
                    _ => false,
                }
        });
        if busy {
            met!(Busy);
            draft.wait(format!("what is under way at {endpoint} to end"), None);
            continue;
        }
        let scanning = view.topology.session(endpoint).is_some_and(|session| session.scanning);
        if scanning && !cut_off(endpoint, view) {
            met!(ScanLingers);
            let wake = Some(view.now + Duration::from_millis(100));
            draft.wait(format!("a scan at {endpoint} to end whose process is gone"), wake);
            continue;
        }
        let below = view.topology.devices_of(std::slice::from_ref(path));
        if below
            .into_iter()
            .any(|device| ours.devices.iter().any(|own| own.device.hctl == device.device.hctl))
        {
            continue;
        }
        let step = Step::Release(endpoint.clone());
        let mine = view.claims_it(endpoint);
        let served_us = || {
            view.topology.session(endpoint).is_some_and(|session| {
                session.devices.is_empty()
                    && session.others == 0
                    && view.ledger.deleted_on(session.session.scsi_host)
            })
        };
        if !mine && !view.claims.contains_key(endpoint) && served_us() {
            met!(Unclaimed);
        }
        if mine || (!view.claims.contains_key(endpoint) && served_us() && !view.ledger.succeeded(&step)) {
            draft.want(view, step, RELEASE_TRIES, Duration::from_millis(500));
        }
    }
}

/// Whether a scan below the endpoint's session ends by the logout. Where the session has lost its connection it would wait for
/// as long as that is to wait for a new one (`recovery_tmo`, 120 s by default), so nothing is gained by waiting for it.
/// But if the session stays, for others, what the scan brings in later would be nobody's.
fn cut_off(endpoint: &Endpoint, view: &View<'_>) -> bool {
    let Some(session) = view.topology.session(endpoint) else { return false };
    let goes = view.claims.get(endpoint).is_some_and(|claim| {
        claim.made_session && claim.users.iter().all(|user| user == view.id) && session.others == 0
    });
    let lost = !session.usable();
    if lost && goes {
        met!(LostSession);
    }
    lost && goes
}

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
    for path in &goal.paths {
        let mine = view.claims_it(&path.endpoint);
        // A session that nobody claimed is ours to end once we have taken its device.
        let step = Step::Release(path.endpoint.clone());
        let tried = view.ledger.failures(&step) > 0 && !view.ledger.succeeded(&step);
        if !mine && !tried {
            continue;
        }
        let before = left.len();
        if let Some(session) = view.topology.session(&path.endpoint) {
            left.push(format!("session {} to {}", session.session.sid, path.endpoint));
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
    left
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
                    | Step::FailPath(_)
            );
            (cleaning && !ending.is_ok()).then(|| format!("{}: {}", entry.step, ending.reason()))
        })
        .collect();
    lines.reverse();
    lines
}
