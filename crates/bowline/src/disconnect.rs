//! The verb disconnect: find what is meant, lock the volume, write that it is going, pursue its absence.

use bowline_host::iscsi::Session;
use bowline_host::openers::{UsedDisk, users_of_disks};
use bowline_host::scsi;
use bowline_host::{Host, Moment};

use crate::cancel::Cancel;
use crate::claims::{self, Claim};
use crate::connection::{Connection, WantedPath};
use crate::error::{Error, ErrorKind};
use crate::event::Observer;
use crate::journal::{self, Attachment, Phase};
use crate::locks::lock_volume;
use crate::plan::Step;
use crate::plan::detach::{self, Detach};
use crate::policy::{DisconnectOptions, LoginPolicy, OnDirty};
use crate::report::{Disconnected, Outcome, SCHEMA};
use crate::run::{Goal, Pursuit, Runner, Seen};
use crate::topology::{Scope, SessionView, observe};

/// Which volume is meant.
#[derive(Debug, Clone)]
pub enum Which {
    /// The one of this connection.
    Connection(Box<Connection>),
    /// The attachment with this id.
    Attachment(String),
    /// The one behind this device node (or a link to it).
    Device(String),
}

/// Detaches a volume: flushed, then taken apart, then verified to be gone. Disconnecting what is not connected
/// succeeds and changes nothing (D15).
///
/// # Errors
/// [`ErrorKind::Refused`] where it is in use or cannot be flushed, everything being intact (D7);
/// [`ErrorKind::Leftovers`] where something is left, named (D9). Every end is by `options.deadline` (B7).
pub async fn disconnect(
    host: &dyn Host,
    which: &Which,
    options: &DisconnectOptions,
    observer: &dyn Observer,
    mut cancel: Cancel,
) -> Result<Disconnected, Error> {
    let end = host.now() + options.deadline;
    let Some(target) = resolve(host, which)? else { return Ok(unchanged()) };
    let Some(_locks) =
        lock_volume(host, &target.paths, end, ErrorKind::Refused, observer, &mut cancel).await?
    else {
        return Err(Error::new(ErrorKind::Refused, "the disconnect was interrupted")
            .hint("it had not begun: nothing was touched"));
    };
    // Read again under the lock: whoever held it may have detached the volume.
    let journal = journal::find(host, &target.paths)?;
    let id = journal.as_ref().map_or_else(|| journal::id_of(&target.paths), |found| found.id.clone());
    let mut runner = Runner::new(host, &id, None, LoginPolicy::default(), options.flush_timeout, observer);
    let mut goal = goal(&target, journal.as_ref(), options);
    let alone = used_alone(host, &goal.paths, &id)?;
    if let Some(mut journal) = journal {
        runner.resumes = journal.phase != Phase::Attached;
        if !runner.resumes {
            journal.phase = Phase::Detaching;
            journal::store(host, &journal)?;
        }
        runner.journal = Some(journal);
    }
    let pursued = runner.pursue(Goal::Detach(goal.clone()), end, &mut cancel).await;
    goal = runner.found_out(goal);
    let pursuit = match pursued {
        Ok(pursuit) => pursuit,
        Err(error) => {
            runner.settle(end).await;
            return Err(broken_off(host, &mut runner, &goal, error));
        }
    };
    conclude(host, &mut runner, &goal, pursuit, end, options, &alone).await
}

/// Claims on sessions that bowline has made, and that nothing but this attachment uses.
fn used_alone(host: &dyn Host, paths: &[WantedPath], id: &str) -> Result<Vec<Claim>, Error> {
    let claims = claims::load_of(host, paths.iter().map(|path| &path.endpoint))?;
    let is_alone = |claim: &Claim| claim.made_session && claim.users.iter().eq([id]);
    Ok(claims.into_values().filter(is_alone).collect())
}

/// Of those, the sessions that stay although the last one is out, since something of others is below them (D4). bowline has
/// given them up, and nobody else may know of them: so it is said what keeps each, and how it is ended.
fn staying(host: &dyn Host, alone: &[Claim], seen: &Seen) -> Result<Vec<String>, Error> {
    let mut told = Vec::new();
    for claim in alone.iter().filter(|claim| !seen.claims.contains_key(&claim.endpoint)) {
        let Some(SessionView { session, .. }) = seen.topology.session(&claim.endpoint) else { continue };
        let below = used_below(host, session)?.join("; ");
        let (sid, endpoint) = (session.sid, &session.endpoint);
        let (iqn, portal, iface) = (&endpoint.iqn, &endpoint.portal, &endpoint.iface);
        let by_hand = format!("iscsiadm -m node -T {iqn} -p {portal} -I {iface}");
        let record = if claim.made_record { format!(" && {by_hand} -o delete") } else { String::new() };
        told.push(format!(
            "session {sid} to {endpoint} stays, since not all below it is of this volume: {below}; bowline has given it up: \
             when nobody needs it, end it by `{by_hand} --logout{record}`"
        ));
    }
    Ok(told)
}

/// The devices below a session, each with who uses it.
fn used_below(host: &dyn Host, session: &Session) -> Result<Vec<String>, Error> {
    let addresses = scsi::addresses(host)?;
    let below: Vec<_> = addresses.into_iter().filter(|hctl| hctl.host == session.scsi_host).collect();
    let tell = |disk: UsedDisk| {
        let device = match disk.block {
            Some(block) => format!("SCSI device {block} ({})", disk.hctl),
            None => format!("SCSI device {}", disk.hctl),
        };
        disk.users.iter().fold(device, |told, user| format!("{told}, in use: {user}"))
    };
    Ok(users_of_disks(host, &below)?.into_iter().map(tell).collect())
}

/// The host could not be observed, or the journal not be written: what is left is looked for once more (D9).
fn broken_off(host: &dyn Host, runner: &mut Runner<'_>, goal: &Detach, error: Error) -> Error {
    let error = detach::telling_losses(error, &runner.ledger);
    let seen = match runner.look_once(goal) {
        Ok(seen) => seen,
        Err(again) => {
            return error.cause(again).leaving(vec!["unknown: the host could not be observed".into()]);
        }
    };
    if intact(runner, goal, &seen) {
        return match restore(host, runner) {
            Ok(()) => error,
            Err(failed) => error.cause(failed),
        };
    }
    let mut left = detach::leftovers(goal, &runner.view(&seen));
    left.push(runner.own_state());
    error.leaving(left).hint("disconnect again: it goes on where this stopped")
}

/// What the rules get to know.
fn goal(target: &Target, journal: Option<&Attachment>, options: &DisconnectOptions) -> Detach {
    let mut paths = target.paths.clone();
    for path in journal.iter().flat_map(|journal| &journal.paths) {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    let undone = journal.is_some_and(|journal| journal.phase == Phase::Attaching);
    // What was never handed out holds no data.
    let on_dirty = if undone { OnDirty::NothingWritten } else { options.on_dirty };
    Detach { paths, flush_tries: options.flush_tries, ..Detach::of(journal, on_dirty) }
}

async fn conclude(
    host: &dyn Host,
    runner: &mut Runner<'_>,
    goal: &Detach,
    pursuit: Pursuit,
    end: Moment,
    options: &DisconnectOptions,
    alone: &[Claim],
) -> Result<Disconnected, Error> {
    let cancelled = matches!(pursuit, Pursuit::Cancelled);
    let (seen, waiting) = match pursuit {
        Pursuit::Done(seen) => (seen, Vec::new()),
        Pursuit::Deadline(waiting, seen) => (seen, waiting),
        Pursuit::Cancelled => {
            runner.settle(end).await;
            let seen = runner.look_once(goal)?;
            if let Some(error) = interrupted(host, runner, goal, &seen)? {
                return Err(error);
            }
            (seen, Vec::new())
        }
        Pursuit::Refused(error, seen) => {
            if intact(runner, goal, &seen) {
                restore(host, runner)?;
                return Err(error);
            }
            return Err(error.leaving(detach::leftovers(goal, &runner.view(&seen))));
        }
    };
    let left = detach::leftovers(goal, &runner.view(&seen));
    let mut failures = detach::failures(&runner.view(&seen));
    failures.extend(detach::maps_beside(&runner.view(&seen)));
    failures.extend(runner.users.iter().map(|user| format!("taken away while in use: {user}")));
    if !left.is_empty() && goal.on_dirty == OnDirty::Refuse && intact(runner, goal, &seen) {
        restore(host, runner)?;
        let mut error = match waiting.is_empty() {
            true => Error::new(
                ErrorKind::Refused,
                "the multipath map could not be removed; nothing was taken apart",
            ),
            false => Error::new(
                ErrorKind::Refused,
                format!("not detached within {} s; nothing was taken apart", options.deadline.as_secs()),
            ),
        };
        for cause in failures.into_iter().chain(waiting.into_iter().map(|w| format!("still waiting for {w}")))
        {
            error = error.cause(cause);
        }
        return Err(error.hint("the volume is still attached and usable; disconnect it again"));
    }
    if !left.is_empty() {
        let mut error = Error::new(ErrorKind::Leftovers, "the volume is not wholly detached");
        for cause in failures.into_iter().chain(waiting.into_iter().map(|w| format!("still waiting for {w}")))
        {
            error = error.cause(cause);
        }
        return Err(error.leaving(left).hint("disconnect again: it goes on where this stopped"));
    }
    let had_journal = runner.journal.is_some();
    let lost_write = runner.journal.as_ref().is_some_and(|journal| journal.lost_write);
    if lost_write && runner.ledger.lost_writes().next().is_none() {
        failures.push("a write to it was lost, as an earlier disconnect was told".into());
    }
    failures.extend(staying(host, alone, &seen)?);
    let touched = had_journal || runner.ledger.entries().iter().any(|entry| changes(&entry.step));
    let outcome = outcome(runner, goal, touched, lost_write);
    let links = match cancelled {
        true => Vec::new(),
        false => runner.links.forgotten(host, runner.lasted(), end).await?,
    };
    runner.forget().map_err(|error| error.leaving(vec![runner.own_state()]))?;
    if !links.is_empty() {
        return Err(forgotten(links, failures, outcome));
    }
    Ok(Disconnected { schema: SCHEMA, outcome, leftovers: Vec::new(), warnings: failures })
}

/// The volume is gone, and links to it stay.
fn forgotten(links: Vec<String>, failures: Vec<String>, outcome: Outcome) -> Error {
    let mut error = Error::new(
        ErrorKind::Leftovers,
        "the volume is detached, but links to it stay: udev has forgotten them",
    )
    .cause("udev ends a worker of its own that takes longer than three minutes for a device");
    if outcome == Outcome::DataMayBeLost {
        error = error.cause("data may be lost");
    }
    let error = failures.into_iter().fold(error, Error::cause);
    error.leaving(links).hint("remove them by hand (rm): they lead to whatever disk gets that name next")
}

fn outcome(runner: &Runner<'_>, goal: &Detach, touched: bool, lost_write: bool) -> Outcome {
    let mut syncs = runner.ledger.entries().iter().filter(|entry| matches!(entry.step, Step::Sync { .. }));
    // The last try counts: it was made because something was written since a good one.
    let flushed = |step| runner.ledger.last(step).is_some_and(|(_, ending)| ending.is_ok());
    let not_flushed = syncs.any(|entry| !flushed(&entry.step));
    let given_up = (not_flushed || !runner.users.is_empty()) && goal.on_dirty == OnDirty::Discard;
    match (touched, lost_write || given_up) {
        (false, _) => Outcome::Unchanged,
        (true, true) => Outcome::DataMayBeLost,
        (true, false) => Outcome::Clean,
    }
}

/// Whether a step takes something apart.
fn changes(step: &Step) -> bool {
    !matches!(step, Step::Sync { .. } | Step::VerifyRead { .. })
}

/// Whether nothing was taken apart, neither now (at most, the removal of a map that is still there was tried) nor before:
/// a map without a device of this volume is no attachment any more.
fn intact(runner: &Runner<'_>, goal: &Detach, seen: &Seen) -> bool {
    let untouched = runner.ledger.entries().iter().all(|entry| match &entry.step {
        step if goal.removes_own_map(step) => seen.topology.map.is_some(),
        step => !changes(step),
    });
    untouched && seen.topology.devices_of(&goal.paths).next().is_some()
}

/// What an interruption has left; `None` where the steps that were under way were the last ones.
fn interrupted(
    host: &dyn Host,
    runner: &mut Runner<'_>,
    goal: &Detach,
    seen: &Seen,
) -> Result<Option<Error>, Error> {
    let error = Error::new(ErrorKind::Refused, "the disconnect was interrupted");
    if intact(runner, goal, seen) {
        restore(host, runner)?;
        return Ok(Some(error.hint("nothing was taken apart; the volume is still attached")));
    }
    let left = detach::leftovers(goal, &runner.view(seen));
    match left.is_empty() {
        true => Ok(None),
        false => Ok(Some(error.leaving(left).hint("disconnect again: it goes on where this stopped"))),
    }
}

/// Nothing was taken apart: the attachment stays what it was, and may be written to again.
fn restore(host: &dyn Host, runner: &mut Runner<'_>) -> Result<(), Error> {
    match &mut runner.journal {
        Some(journal) if journal.phase == Phase::Detaching => {
            journal.phase = Phase::Attached;
            journal.flushed = false;
            journal::store(host, journal)
        }
        _ => Ok(()),
    }
}

/// What is to be detached.
struct Target {
    paths: Vec<WantedPath>,
}

/// From what the caller named to paths; `None` when there is nothing.
fn resolve(host: &dyn Host, which: &Which) -> Result<Option<Target>, Error> {
    Ok(match which {
        Which::Connection(connection) => Some(Target { paths: connection.paths.clone() }),
        Which::Attachment(id) => journal::load(host, id)?.map(|journal| Target { paths: journal.paths }),
        Which::Device(node) => Some(by_device(host, node)?),
    })
}

/// The attachment behind a device node: by the map's UUID or the disk's place in the topology, not by its name.
fn by_device(host: &dyn Host, node: &str) -> Result<Target, Error> {
    let name = block_name(host, node)?;
    let holds = |journal: &Attachment| -> Result<bool, Error> {
        let topology = observe(host, &Scope::of(journal))?;
        let map = topology.map.as_ref().is_some_and(|view| view.map.block_name() == name);
        let disk =
            topology.devices_of(&journal.paths).filter_map(|d| d.block()).any(|block| block.name == name);
        Ok(map || disk)
    };
    for journal in journal::load_all(host)? {
        if holds(&journal)? {
            return Ok(Target { paths: journal.paths });
        }
    }
    Err(Error::new(ErrorKind::Input, format!("{node} belongs to no attachment of bowline"))
        .hint("bowline inspect shows every attachment with its device"))
}

/// Follows a device node's links to the kernel's name.
fn block_name(host: &dyn Host, node: &str) -> Result<bowline_host::names::BlockName, Error> {
    let missing = |why: String| Error::new(ErrorKind::Input, format!("{node} is no block device")).cause(why);
    let mut path = node.to_owned();
    for _ in 0..8 {
        match host.read_link(&path) {
            Ok(target) if target.starts_with('/') => path = target,
            Ok(target) => {
                path = format!("{}/{target}", path.rsplit_once('/').map_or("", |(folder, _)| folder))
            }
            Err(_) => break,
        }
    }
    let name =
        path.rsplit('/').next().unwrap_or_default().parse().map_err(|error| missing(format!("{error}")))?;
    match scsi::block_device(host, &name)? {
        Some(device) => Ok(device.name),
        None => Err(missing("the kernel has no such block device".into())),
    }
}

fn unchanged() -> Disconnected {
    Disconnected { schema: SCHEMA, outcome: Outcome::Unchanged, leftovers: Vec::new(), warnings: Vec::new() }
}

impl Runner<'_> {
    /// One more look, for what is said at the end.
    pub(crate) fn look_once(&mut self, goal: &Detach) -> Result<Seen, Error> {
        self.observe_for(&mut Goal::Detach(goal.clone()))
    }
}
