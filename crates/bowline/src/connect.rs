//! The verb connect: lock the volume, write the intent, pursue the attach; if that fails, for whatever reason,
//! pursue the host as it was before.

use bowline_host::{Host, multipath};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::connection::{Connection, WantedPath};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observer};
use crate::journal::{self, Attachment, Phase};
use crate::locks::lock_volume;
use crate::plan::attach::{self, Attach, Enough};
use crate::plan::{Step, View};
use crate::policy::{ConnectOptions, DisconnectOptions, LoginPolicy, RECOVERY_BELOW_MULTIPATH};
use crate::report::{Connected, FailedPath, PathReport, PathState, SCHEMA};
use crate::run::{Goal, Pursuit, Runner, Seen};
use crate::sabotage::sabotaged;
use crate::topology::{DeviceView, Scope, Topology, observe};
use crate::undo::{LOST_WRITE, finish_interrupted, undo};

/// Attaches a volume: returns once a map is there that was read from, with every path that worked in it (or the
/// single device that was asked for). Connecting what is connected returns the same attachment (C16).
///
/// # Errors
/// [`ErrorKind::NotAttached`] with the host as it was before; [`ErrorKind::Leftovers`] where cleaning did not
/// succeed either, with what is left; [`ErrorKind::Identity`] where paths disagree; [`ErrorKind::Host`] where
/// this host cannot do it. Every end is by `options.deadline` (B7).
pub async fn connect(
    host: &dyn Host,
    connection: &Connection,
    options: &ConnectOptions,
    observer: &dyn Observer,
    mut cancel: Cancel,
) -> Result<Connected, Error> {
    let end = host.now() + options.deadline;
    let reserve = options.reserve.min(options.deadline / 2);
    let work = end - reserve;
    let login = login_policy(options, connection.paths.len(), options.deadline - reserve);
    if options.multipath {
        multipathd_lives(host).await?;
    }
    let busy = ErrorKind::NotAttached;
    let Some(_locks) = lock_volume(host, &connection.paths, work, busy, observer, &mut cancel).await? else {
        return Err(interrupted());
    };
    let before = journal::find(host, &connection.paths)?;
    let id = before.as_ref().map_or_else(|| journal::id_of(&connection.paths), |found| found.id.clone());
    let mut runner = Runner::new(
        host,
        &id,
        connection.chap.as_ref(),
        login,
        DisconnectOptions::default().flush_timeout,
        observer,
    );

    let attached = before.as_ref().filter(|found| found.phase == Phase::Attached);
    let live = attached.map_or(Ok(false), |attached| is_there(host, attached))?;
    if let Some(found) = &before
        && found.phase != Phase::Attached
        && !sabotaged!(SkipInterrupted)
    {
        finish_interrupted(&mut runner, found, end, &mut cancel).await?;
    }
    let mut journal = match before {
        Some(found) if live => found,
        Some(found) if found.phase == Phase::Attached => begun_anew(found, options, host.wall_clock()),
        before => Attachment {
            // Whoever was told of it died before it could say so.
            lost_write: before.is_some_and(|found| found.lost_write),
            ..Attachment::intent(id.clone(), connection.paths.clone(), options.multipath, host.wall_clock())
        },
    };
    let unknown: Vec<WantedPath> =
        connection.paths.iter().filter(|path| !journal.paths.contains(path)).cloned().collect();
    if !live || !unknown.is_empty() {
        journal.paths.extend(unknown);
        journal.volume = connection.volume.clone().or(journal.volume);
        if !sabotaged!(SkipIntent) {
            journal::store(host, &journal)?;
        }
    }
    // What is attached stays what it is (C16): beside a single device that was handed out no map is made.
    let multipath = match live {
        true => journal.multipath && journal.map.is_some(),
        false => options.multipath,
    };
    let expected = options.expected.clone().or(connection.wwid.clone());
    let goal = Attach {
        paths: connection.paths.clone(),
        multipath,
        allow_single_device: options.allow_single_device,
        expected: expected.or_else(|| journal.wwid.clone()),
        live,
        login,
        scan_attempts: options.scan_attempts,
        enough: enough(options),
        began: host.now(),
        logins_end: end - reserve / 2,
        deadline: work,
    };
    runner.journal = Some(journal);

    // An attach ends itself at its deadline; only a single device that will do has still to be read then (C11).
    let until = if options.allow_single_device { work + reserve / 3 } else { work };
    let pursuit = runner.pursue(Goal::Attach(goal.clone()), until, &mut cancel).await;
    let error = match pursuit {
        // What cannot be written down is not handed out: nobody would know of it after a crash (B4).
        Ok(Pursuit::Done(seen)) => match hand_out(host, &mut runner, &goal, &seen, live) {
            Ok(mut connected) => {
                connected.warnings.extend(cannot_write(connection, &seen.topology, &connected.device_node));
                if options.multipath && connected.map.is_none() && live {
                    let node = &connected.device_node;
                    let stays = format!(
                        "it is attached as the single device {node}, and stays so: disconnect it to have a map"
                    );
                    connected.warnings.push(stays);
                }
                return Ok(connected);
            }
            Err(error) => error,
        },
        Ok(Pursuit::Refused(error, _)) => error,
        Ok(Pursuit::Deadline(waiting, _)) => out_of_time(options.deadline, waiting),
        Ok(Pursuit::Cancelled) => interrupted(),
        Err(error) => error,
    };
    if live || (sabotaged!(SkipUndo) && cancel.asked()) {
        // What was attached before stays: it is in use, and this call did not make it.
        return Err(error);
    }
    Err(undo(&mut runner, end, error).await)
}

/// Whether a map or a disk is there of what is attached on file, be it on its way out. After a reboot neither is.
fn is_there(host: &dyn Host, attached: &Attachment) -> Result<bool, Error> {
    let topology = observe(host, &Scope::of(attached))?;
    let going = topology.sessions.iter().any(|session| !session.going.is_empty());
    Ok(topology.map.is_some() || topology.devices_of(&attached.paths).next().is_some() || going)
}

/// An attachment that is gone from the host: nobody has it any more, so it is attached anew. What it is, and what of it may still be on
/// the host, is known from before: identity, paths, and whether its entry of the wwids file is of its making.
fn begun_anew(gone: Attachment, options: &ConnectOptions, begun: u64) -> Attachment {
    Attachment {
        phase: Phase::Attaching,
        multipath: options.multipath,
        map: None,
        flushed: false,
        bare: false,
        answered: Default::default(),
        begun,
        ..gone
    }
}

/// A login gets what the deadline leaves (B1); where the portals are tried in turn, each gets its share.
fn login_policy(options: &ConnectOptions, paths: usize, budget: Duration) -> LoginPolicy {
    let turns = if options.multipath { 1 } else { paths.max(1) as u32 };
    // A single device that is handed out has no other path to go on over: it keeps the administrator's patience.
    let mapped = options.multipath && !options.allow_single_device;
    let recovery = options.login.recovery.or(mapped.then_some(RECOVERY_BELOW_MULTIPATH));
    LoginPolicy { recovery, ..options.login }.within(budget / turns)
}

fn enough(options: &ConnectOptions) -> Enough {
    let grace = options.grace.or(options.min_paths.map(|_| Duration::ZERO));
    Enough::Quorum { paths: options.min_paths.unwrap_or(1) as usize, grace }
}

/// Nothing can be done without multipathd, and it is cheaper to say so now (exit 6).
async fn multipathd_lives(host: &dyn Host) -> Result<(), Error> {
    multipath::daemon(host, Duration::from_secs(10)).await.map(drop).map_err(|error| {
        Error::new(ErrorKind::Host, "multipathd does not answer")
            .cause(error)
            .hint("start it (systemctl start multipathd), or connect with --single-path")
    })
}

pub(crate) fn interrupted() -> Error {
    Error::new(ErrorKind::NotAttached, "the connect was interrupted")
}

fn out_of_time(limit: Duration, waiting: Vec<String>) -> Error {
    let mut error = Error::new(
        ErrorKind::NotAttached,
        format!("not attached within the deadline of {} s", limit.as_secs()),
    );
    for what in waiting.into_iter().filter(|what| what != "the goal") {
        error = error.cause(format!("still waiting for {what}"));
    }
    error
}

/// The attachment is whole: written down, then handed out.
fn hand_out(
    host: &dyn Host,
    runner: &mut Runner<'_>,
    goal: &Attach,
    seen: &Seen,
    live: bool,
) -> Result<Connected, Error> {
    let topology = &seen.topology;
    let map = topology.map.as_ref().map(|view| view.map.name.clone());
    let changed = !live || runner.ledger.entries().iter().any(|e| !matches!(e.step, Step::VerifyRead { .. }));
    let mut report = report(runner, goal, &runner.view(seen), changed)?;
    let journal = runner.journal.as_mut().expect("a connect has a journal");
    if changed || journal.map != map {
        journal.phase = Phase::Attached;
        journal.map = map.clone();
        journal.bare |= map.is_none();
        journal.scans_again |= report.unfinished;
        journal.wwid = report.wwid.clone();
        journal.flushed = false;
        runner.answered.write_down(journal);
        if !live && std::mem::take(&mut journal.lost_write) {
            report.warnings.push(LOST_WRITE.into());
        }
        if !sabotaged!(HandOutUnwritten) {
            journal::store(host, journal)?;
        }
    }
    if let (Some(map), Some(wwid)) = (map, report.wwid.clone()) {
        let paths = report.paths.iter().filter(|path| path.state == PathState::Active).count();
        runner.tell(Event::MapReady { map, wwid, paths });
    }
    Ok(report)
}

fn report(runner: &Runner<'_>, goal: &Attach, view: &View<'_>, changed: bool) -> Result<Connected, Error> {
    let journal = runner.journal.as_ref().expect("a connect has a journal");
    let topology = view.topology;
    let mut paths = path_reports(&goal.paths, topology);
    let missing = if goal.multipath { attach::missing(goal, view) } else { Vec::new() };
    let unfinished = missing.iter().any(|path| path.pending);
    let failed_paths: Vec<FailedPath> = missing
        .into_iter()
        .map(|path| FailedPath { portal: path.endpoint.portal, iqn: path.endpoint.iqn, reason: path.reason })
        .collect();
    let mut warnings = Vec::new();
    let (device_node, size) = match &topology.map {
        Some(view) => {
            if !goal.multipath {
                warnings.push(
                    "multipath maps this single path by the host's configuration; use the map".to_owned(),
                );
            }
            (format!("/dev/mapper/{}", view.map.name), view.map.size)
        }
        None => {
            let block = attach::read_disk(goal, view).and_then(|device| device.block());
            let block =
                block.ok_or_else(|| Error::new(ErrorKind::Internal, "attached, but no device is left"))?;
            let name = &block.name;
            if goal.multipath {
                let why = attach::why_no_map(view).unwrap_or("multipathd did not make it in time".into());
                warnings.push(format!("no multipath map could be formed ({why}), so {name} alone is returned: performance and safety are degraded, and the volume's other devices must not be used beside it"));
            }
            paths
                .iter_mut()
                .filter(|path| path.device != *name)
                .for_each(|path| path.state = PathState::NotInMap);
            (name.device_node(), block.size)
        }
    };
    if view.claims.values().any(|claim| claim.scans_by_itself) {
        warnings
            .push("open-iscsi is older than 2.0.875: each session brings in every LUN of its target".into());
    }
    if !failed_paths.is_empty() {
        warnings.push(format!("{} of {} paths do not work", failed_paths.len(), goal.paths.len()));
    }
    // What is attached is returned as it is (C16), also with fewer paths than were asked for (B1).
    let working = paths.iter().filter(|path| path.state == PathState::Active).count();
    if goal.live && goal.multipath && working < goal.least() {
        let least = goal.least();
        warnings.push(format!(
            "only {working} of the {least} paths asked for work: it was attached before, and was left as it is"
        ));
    }
    Ok(Connected {
        schema: SCHEMA,
        id: journal.id.clone(),
        device_node,
        wwid: topology.map.as_ref().map(|view| view.map.wwid.clone()).or_else(|| journal.wwid.clone()),
        map: topology.map.as_ref().map(|view| view.map.name.clone()),
        size,
        paths,
        failed_paths,
        changed,
        warnings,
        unfinished,
    })
}

/// A volume that the target lets nobody write to is attached all the same; that is news unless the controller said so.
fn cannot_write(connection: &Connection, topology: &Topology, device_node: &str) -> Option<String> {
    let block = match &topology.map {
        Some(view) => view.block.as_ref(),
        None => topology.devices_of(&connection.paths).find_map(DeviceView::block),
    };
    let locked = block.is_some_and(|block| block.read_only) && !connection.read_only;
    locked.then(|| format!("{device_node} is read-only: the target lets this host read, but not write"))
}

/// The paths that are there, in the controller's order.
pub(crate) fn path_reports(wanted: &[WantedPath], topology: &Topology) -> Vec<PathReport> {
    let state = |number| match &topology.map {
        Some(map) if map.is_active(number) => PathState::Active,
        Some(map) if map.has(number) => PathState::Failed,
        Some(_) => PathState::NotInMap,
        None => PathState::Active,
    };
    wanted
        .iter()
        .filter_map(|path| {
            let block = topology.device(path)?.block()?;
            Some(PathReport {
                portal: path.endpoint.portal,
                iqn: path.endpoint.iqn.clone(),
                lun: path.lun,
                device: block.name.clone(),
                state: state(block.number),
            })
        })
        .collect()
}

impl Runner<'_> {
    /// The planner's view of what was seen, for what is said at the end.
    pub(crate) fn view<'s>(&'s self, seen: &'s Seen) -> View<'s> {
        View {
            id: self.id(),
            topology: &seen.topology,
            claims: &seen.claims,
            ledger: &self.ledger,
            now: self.now(),
            seed: 0,
        }
    }
}
