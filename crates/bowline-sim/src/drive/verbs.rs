//! The verbs of the engine, each in a process of its own, and what must hold when one ends.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bowline::{
    Cancel, Canceller, Connected, Disconnected, Error, ErrorKind, Outcome, Which, connect, disconnect,
    finish, inspect,
};

use super::stage::{Actor, Listener};
use super::{Mark, Stage};
use crate::check;
use crate::host::SimHost;
use crate::scenario::{By, ConnectJob, DisconnectJob};

/// A verb may end so much after its deadline: one last look.
const SLACK: Duration = Duration::from_millis(500);

/// Runs a verb in a process; nothing when that died.
async fn in_process<T, F>(
    stage: &Stage,
    lane: Option<usize>,
    work: impl FnOnce(SimHost, Cancel) -> F,
) -> Option<T>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    let host = SimHost::start(&stage.sim);
    let pid = host.pid();
    let canceller = Canceller::default();
    let slot: Rc<RefCell<Option<T>>> = Rc::default();
    let told = slot.clone();
    let work = work(host, canceller.listener());
    let task = stage.spawn(async move {
        let result = work.await;
        *told.borrow_mut() = Some(result);
    });
    if let Some(lane) = lane {
        stage.with(|inside| inside.actors[lane] = Some(Actor { task, pid, canceller }));
    }
    let result = stage
        .sim
        .until(|_| match slot.take() {
            Some(result) => Some(Some(result)),
            None if Rc::strong_count(&slot) == 1 => Some(None),
            None => None,
        })
        .await;
    stage.sim.with(|world| world.end_process(pid));
    if let Some(lane) = lane {
        stage.with(|inside| inside.actors[lane] = None);
    }
    result
}

/// What stood when a verb began, to be compared with when it ends.
struct Begun {
    at: Duration,
    number: u64,
    exports_changed: u64,
    alone: bool,
    map: Option<u64>,
    disks: BTreeSet<u64>,
    /// What others hold.
    held: BTreeSet<u64>,
    /// What was there already, of a process that has died or of another verb.
    left: Vec<String>,
}

fn begin(stage: &Stage, volume: usize) -> Begun {
    let sim = &stage.sim;
    let (map, disks) = sim.with(|world| {
        let wwid = world.storage.volumes[volume].wwid();
        let map = world.map_of(&wwid).map(|map| map.id);
        let lun = stage.scenario.lun(volume);
        let is_its = |disk: &&crate::model::Disk| {
            let session = world.sessions.get(&disk.sid);
            // One that an earlier verb has begun to delete goes by itself.
            let stays = disk.state != crate::model::DiskState::Going;
            let of_volume = session.is_some_and(|s| s.iqn == stage.scenario.iqn(volume, s.portal));
            disk.lun == lun && stays && of_volume
        };
        (map, world.disks.values().filter(is_its).map(|disk| disk.id).collect())
    });
    stage.with(|inside| {
        let left = sim.with(|world| check::left(world, &stage.scenario, &inside.before, volume));
        let held = sim.with(|world| inside.before.held(world, stage.scenario.lun(volume)));
        let exports_changed = inside.exports_changed;
        let state = &mut inside.volumes[volume];
        state.verbs += 1;
        state.begun += 1;
        let (number, alone) = (state.begun, state.verbs == 1);
        Begun { at: sim.now(), number, exports_changed, alone, map, disks, held, left }
    })
}

impl Begun {
    /// Whether no other verb worked at the volume meanwhile, and nobody else either.
    fn was_alone(&self, stage: &Stage, volume: usize) -> bool {
        stage.with(|inside| {
            let state = &inside.volumes[volume];
            self.alone && state.begun == self.number && !state.strange
        })
    }

    fn storage_was_steady(&self, stage: &Stage) -> bool {
        stage.with(|inside| inside.exports_changed == self.exports_changed)
    }
}

fn end(stage: &Stage, volume: usize) {
    stage.with(|inside| inside.volumes[volume].verbs -= 1);
}

fn in_time(stage: &Stage, verb: &str, begun: &Begun, deadline: u64) {
    let took = stage.sim.now() - begun.at;
    if took > Duration::from_secs(deadline) + SLACK {
        stage.wrong(format!("B7: {verb} took {:.1} s of {deadline}", took.as_secs_f64()));
    }
}

/// Attaches a volume; nothing when the process died.
pub async fn attach(
    stage: &Stage,
    lane: Option<usize>,
    volume: usize,
    job: ConnectJob,
) -> Option<Result<Connected, Error>> {
    let begun = begin(stage, volume);
    // What is not handed out, nobody writes to.
    stage.with(|inside| inside.volumes[volume].node = None);
    let connection = stage.scenario.connection(volume, job.expects);
    let sim = stage.sim.clone();
    let result = in_process(stage, lane, |host, cancel| async move {
        connect(&host, &connection, &job.options(), &Listener(sim), cancel).await
    })
    .await;
    let died = result.is_none();
    if let Some(result) = &result {
        stage.sim.with(|world| match result {
            Ok(connected) => world.note("RESULT", format_args!("connect {volume}: {connected:?}")),
            Err(error) => world.note("RESULT", format_args!("connect {volume}: {:?}: {error}", error.kind)),
        });
        in_time(stage, "connect", &begun, job.deadline);
        match result {
            Ok(connected) => attached(stage, volume, job, &begun, connected),
            Err(error) => not_attached(stage, volume, &begun, error),
        }
    }
    end(stage, volume);
    if died {
        mark(stage, "connect died");
        unsettled(stage, volume, true);
    }
    result
}

fn mark(stage: &Stage, outcome: &'static str) {
    stage.sim.with(|world| world.faults.mark(Mark::Outcome(outcome)));
}

fn attached(stage: &Stage, volume: usize, job: ConnectJob, begun: &Begun, connected: &Connected) {
    mark(stage, if connected.map.is_some() { "connected, map" } else { "connected, device" });
    let alone = begun.was_alone(stage, volume);
    let steady = begun.storage_was_steady(stage) && connected.changed;
    let wrongs = stage.sim.with(|world| match alone {
        true => check::handed_out(world, &stage.scenario, volume, job, connected, steady),
        false => Vec::new(),
    });
    wrongs.into_iter().for_each(|wrong| stage.wrong(wrong));
    stage.with(|inside| inside.volumes[volume].node = Some(connected.device_node.clone()));
    if connected.unfinished {
        finish_later(stage, volume, connected.id.clone(), Duration::from_secs(job.deadline));
    }
    nothing_foreign(stage);
    account(stage, volume, Some(connected.warnings.join("; ")));
}

/// The command leaves a process behind that brings the missing paths (B2).
fn finish_later(stage: &Stage, volume: usize, id: String, deadline: Duration) {
    let work = stage.clone();
    stage.spawn(async move {
        let sim = work.sim.clone();
        let result = in_process(&work, None, |host, cancel| async move {
            finish(&host, &id, deadline, &Listener(sim), cancel).await
        })
        .await;
        work.sim.with(|world| {
            world.note("RESULT", format_args!("finish {volume}: {result:?}"));
            world.faults.mark(Mark::Outcome("finished"));
        });
    });
}

fn not_attached(stage: &Stage, volume: usize, begun: &Begun, error: &Error) {
    mark(stage, outcome_of(error));
    plain(stage, error);
    // What was attached before stays attached.
    let live = stage.sim.with(|world| {
        let file = world.state.get(&format!("attachments/{}.json", check::id_of(&stage.scenario, volume)));
        file.is_some_and(|bytes| !String::from_utf8_lossy(bytes).contains("\"attaching\""))
    });
    let settled = stage.with(|inside| !inside.volumes[volume].unsettled);
    if begun.was_alone(stage, volume) && !live && (settled || error.kind == ErrorKind::Leftovers) {
        left_after(stage, volume, "a failed connect", error, &begun.left);
    }
    let gone = stage.sim.with(|world| begun.held.iter().any(|disk| !world.disks.contains_key(disk)));
    if gone && begun.was_alone(stage, volume) {
        stage.wrong("C1: a failed connect has taken away what others hold");
    }
    if error.kind == ErrorKind::Leftovers {
        unsettled(stage, volume, true);
    }
    nothing_foreign(stage);
    account(stage, volume, Some(error.to_string()));
}

fn unsettled(stage: &Stage, volume: usize, is: bool) {
    stage.with(|inside| inside.volumes[volume].unsettled = is);
}

fn outcome_of(error: &Error) -> &'static str {
    match error.kind {
        ErrorKind::Internal => "internal",
        ErrorKind::Input => "input",
        ErrorKind::NotAttached => "not attached",
        ErrorKind::Leftovers => "leftovers",
        ErrorKind::Refused => "refused",
        ErrorKind::Host => "host",
        ErrorKind::Identity => "identity",
    }
}

fn plain(stage: &Stage, error: &Error) {
    let wrongs = stage.sim.with(|world| check::told(error, &world.secrets));
    wrongs.into_iter().for_each(|wrong| stage.wrong(wrong));
}

/// Nothing is left that was not there before, or it is named.
fn left_after(stage: &Stage, volume: usize, verb: &str, error: &Error, already: &[String]) {
    let before = stage.with(|inside| inside.before.clone());
    let mut left = stage.sim.with(|world| check::left(world, &stage.scenario, &before, volume));
    left.retain(|what| !already.contains(what));
    match error.kind {
        ErrorKind::Leftovers => {
            let unnamed = check::unnamed(&left, error);
            if !unnamed.is_empty() {
                stage.wrong(format!("D9: {verb} names {:?} and not {unnamed:?}", error.leftovers));
            }
        }
        _ if left.is_empty() => {}
        _ => stage.wrong(format!("C1: {verb} ({:?}: {error}) leaves {left:?}", error.kind)),
    }
}

fn nothing_foreign(stage: &Stage) {
    let before = stage.with(|inside| inside.before.clone());
    for missing in stage.sim.with(|world| before.missing(world)) {
        stage.wrong(format!("D4: {missing} is gone"));
    }
}

/// The writes that are owed, on no volume and in no cache any more; and whether a device has still to tell of a lost one.
fn lost_for_good(stage: &Stage, volume: usize) -> (BTreeSet<u64>, bool) {
    stage.with(|inside| {
        let state = &mut inside.volumes[volume];
        stage.sim.with(|world| {
            for (disk, writes) in std::mem::take(&mut state.late) {
                match world.disks.get(&disk) {
                    Some(disk) if disk.doomed => state.late.push((disk.id, writes)),
                    Some(_) => state.owed.extend(&writes),
                    None => {}
                }
            }
        });
        let owed = &inside.volumes[volume].owed;
        stage.sim.with(|world| {
            let written = |write: &u64| world.storage.volumes.iter().any(|v| v.written.contains(write));
            let caches = (world.disks.values().map(|disk| &disk.cache))
                .chain(world.maps.values().map(|map| &map.cache));
            let (mut cached, mut pending) = (BTreeSet::new(), false);
            for cache in caches {
                cached.extend(cache.dirty.iter().chain(&cache.writing).copied());
                pending |= cache.error;
            }
            pending |= world.flushes.values().any(Option::is_some);
            // The disconnect that detaches it will tell.
            let journal =
                world.state.get(&format!("attachments/{}.json", check::id_of(&stage.scenario, volume)));
            pending |= journal.is_some_and(|bytes| String::from_utf8_lossy(bytes).contains("\"lost_write\""));
            let lost: BTreeSet<u64> =
                owed.iter().copied().filter(|w| !written(w) && !cached.contains(w)).collect();
            if !lost.is_empty() {
                world.faults.mark(Mark::WriteLost);
            }
            (lost, pending)
        })
    })
}

/// D7: what was written is on the volume, or can still get there, or its loss was told. `said` is what the verb told when it
/// did not say that all is well.
fn account(stage: &Stage, volume: usize, said: Option<String>) {
    let tells = said.is_some_and(|said| {
        ["flush", "taken away while in use", "lost"].iter().any(|word| said.contains(word))
    });
    if !tells && stage.with(|inside| inside.volumes[volume].verbs > 1) {
        // Another verb at the volume may be about to tell.
        return;
    }
    let (lost, pending) = lost_for_good(stage, volume);
    if pending && !tells {
        // A device can still tell of it.
        return;
    }
    stage.with(|inside| inside.volumes[volume].owed.retain(|write| !lost.contains(write)));
    if tells {
        return;
    }
    if !lost.is_empty() {
        stage.wrong(format!("D7: writes {lost:?} are lost, and nobody was told"));
    }
}

/// Detaches a volume; nothing when the process died.
pub async fn detach(
    stage: &Stage,
    lane: Option<usize>,
    volume: usize,
    job: DisconnectJob,
) -> Option<Result<Disconnected, Error>> {
    let begun = begin(stage, volume);
    let which = match job.by {
        By::Connection => Which::Connection(Box::new(stage.scenario.connection(volume, false))),
        By::Attachment => Which::Attachment(check::id_of(&stage.scenario, volume)),
    };
    let sim = stage.sim.clone();
    let used: Vec<crate::model::Use> = stage.with(|inside| {
        let live = |used: &&crate::model::Use| {
            stage.sim.with(|world| {
                let there = world.devpath(used.block).is_some();
                there && world.is_open(used)
            })
        };
        inside.volumes[volume].uses.iter().filter(live).cloned().collect()
    });
    let result = in_process(stage, lane, |host, cancel| async move {
        disconnect(&host, &which, &job.options(), &Listener(sim), cancel).await
    })
    .await;
    if let Some(result) = &result {
        stage.sim.with(|world| match result {
            Ok(detached) => world.note("RESULT", format_args!("disconnect {volume}: {detached:?}")),
            Err(e) => world
                .note("RESULT", format_args!("disconnect {volume}: {:?}: {e}; {:?}", e.kind, e.leftovers)),
        });
        in_time(stage, "disconnect", &begun, job.deadline);
        match result {
            Ok(detached) => detached_well(stage, volume, job, &begun, detached, &used),
            Err(error) => not_detached(stage, volume, job, &begun, error),
        }
    }
    match &result {
        Some(Ok(_)) => {
            unsettled(stage, volume, false);
            stage.with(|inside| inside.volumes[volume].node = None);
        }
        Some(Err(error)) if error.kind != ErrorKind::Leftovers => {}
        _ => unsettled(stage, volume, true),
    }
    if result.is_none() {
        mark(stage, "disconnect died");
    }
    end(stage, volume);
    result
}

fn detached_well(
    stage: &Stage,
    volume: usize,
    job: DisconnectJob,
    begun: &Begun,
    detached: &Disconnected,
    used: &[crate::model::Use],
) {
    mark(
        stage,
        match detached.outcome {
            Outcome::Clean => "clean",
            Outcome::DataMayBeLost => "data may be lost",
            Outcome::Leftovers => "leftovers, well",
            Outcome::Unchanged => "unchanged",
        },
    );
    let named = job.by == By::Connection || detached.outcome != Outcome::Unchanged;
    if begun.was_alone(stage, volume) && named {
        let before = stage.with(|inside| inside.before.clone());
        let left = stage.sim.with(|world| check::left(world, &stage.scenario, &before, volume));
        if !left.is_empty() {
            stage.wrong(format!("D9: a disconnect that said {:?} leaves {left:?}", detached.outcome));
        }
        let open = |used: &crate::model::Use| stage.sim.with(|world| world.is_open(used));
        if !job.force && used.iter().any(open) && detached.outcome != Outcome::Unchanged {
            stage.wrong("D7: it was taken away from its user without force");
        }
    }
    nothing_foreign(stage);
    let tells = match detached.outcome {
        Outcome::DataMayBeLost => Some("lost".to_owned()),
        _ => None,
    };
    account(stage, volume, tells);
}

fn not_detached(stage: &Stage, volume: usize, job: DisconnectJob, begun: &Begun, error: &Error) {
    mark(stage, outcome_of(error));
    plain(stage, error);
    if begun.was_alone(stage, volume) {
        match error.kind {
            ErrorKind::Leftovers => left_after(stage, volume, "a disconnect", error, &[]),
            ErrorKind::Refused => intact(stage, volume, begun, error),
            _ => {}
        }
    }
    nothing_foreign(stage);
    let said = match job.force && error.kind == ErrorKind::Leftovers {
        // By force, what is told as left may hold the data as well.
        true => format!("{error} lost"),
        false => error.to_string(),
    };
    account(stage, volume, Some(said));
}

/// D7: a refusal has taken nothing apart.
fn intact(stage: &Stage, volume: usize, begun: &Begun, error: &Error) {
    let gone = stage.sim.with(|world| {
        let map = begun.map.filter(|map| !world.maps.contains_key(map)).map(|map| format!("map {map}"));
        let disks = begun.disks.iter().filter(|disk| !world.disks.contains_key(disk));
        map.into_iter().chain(disks.map(|disk| format!("disk {disk}"))).collect::<Vec<_>>()
    });
    if !gone.is_empty() {
        stage.wrong(format!("D7: volume {volume} was refused ({error}), and {gone:?} are gone"));
    }
}

/// Looks; what it says is only looked at for secrets.
pub async fn look(stage: &Stage, lane: usize) {
    let sim = stage.sim.clone();
    let seen = in_process(stage, Some(lane), |host, _| async move { inspect(&host, None) }).await;
    if let Some(Ok(inspection)) = seen {
        sim.with(|world| {
            let text = format!("{inspection:?}");
            if world.secrets.iter().any(|secret| text.contains(secret.as_str())) {
                world.wrong("B8: a secret in an inspection".into());
            }
            world.faults.mark(Mark::Outcome("inspected"));
        });
    }
}
