//! Once everything is healed the host converges: attached with every path, or provably clean.

use std::time::Duration;

use bowline::ErrorKind;

use super::{Stage, lanes, verbs};
use crate::check;
use crate::random::Random;
use crate::scenario::{By, ConnectJob, DisconnectJob};

/// How often a verb may be asked again, and how long it is waited between: a login that a frozen iscsid had not begun is
/// outlasted by minutes.
const TRIES: u32 = 4;
const BETWEEN: Duration = Duration::from_secs(100);
/// A path that was lost is back in the map by then: iscsid, then multipathd's checker.
const SETTLED: Duration = Duration::from_secs(40);

/// Demands it of every volume, then of the host.
pub async fn converge(stage: &Stage) {
    let mut random = Random::split(stage.scenario.seed, "finale");
    stage.sim.sleep(random.any_millis(60_000)).await;
    for volume in 0..stage.scenario.volumes {
        lanes::close(stage, volume, Duration::from_secs(60)).await;
        if random.in_thousand(400) && !stage.scenario.setup.blacklisted {
            attach(stage, volume).await;
        }
        clean(stage, volume).await;
    }
    stage.sim.sleep(Duration::from_secs(130)).await;
    quiet(stage);
}

fn wedged(stage: &Stage, volume: usize) -> bool {
    stage.sim.with(|world| check::wedged(world, &stage.scenario, volume))
}

async fn attach(stage: &Stage, volume: usize) {
    let job = ConnectJob {
        multipath: true,
        allow_single_device: false,
        min_paths: None,
        deadline: 120,
        expects: true,
    };
    let mut why = String::new();
    for _ in 0..TRIES {
        if wedged(stage, volume) {
            return;
        }
        match verbs::attach(stage, None, volume, job).await {
            // Data of an earlier attachment is in the way: only a disconnect can decide about that.
            Some(Err(error)) if matches!(error.kind, ErrorKind::Refused | ErrorKind::Identity) => return,
            Some(Err(error)) if error.to_string().contains("flush") => return,
            Some(Ok(connected)) => return whole(stage, volume, connected.map.is_some()).await,
            Some(Err(error)) => why = error.to_string(),
            None => why = "it died".into(),
        }
        stage.sim.sleep(BETWEEN).await;
    }
    stage.wrong(format!("everything is healed, and volume {volume} cannot be attached: {why}"));
}

/// Every path is in the map, and works. One that is attached without a map stays what it is (C16).
async fn whole(stage: &Stage, volume: usize, mapped: bool) {
    if !mapped {
        return;
    }
    stage.sim.sleep(SETTLED).await;
    let (paths, state) = stage.sim.with(|world| {
        let map = world.map_of(&world.storage.volumes[volume].wwid());
        let paths = map.map_or(0, |map| map.paths.iter().filter(|path| path.active).count());
        (paths, format!("{:?}", map.map(|map| &map.paths)))
    });
    if paths == 0 || (paths < stage.scenario.portals && was_asked_for_all(stage)) {
        stage.wrong(format!("everything is healed, and volume {volume} has {paths} paths: {state}"));
    }
}

/// Where bowline itself made the attachment just now, nothing keeps it from having every path. An attachment of before is
/// returned as it is (C16), with the paths it got then.
fn was_asked_for_all(_stage: &Stage) -> bool {
    false
}

async fn clean(stage: &Stage, volume: usize) {
    let mut why = String::new();
    for attempt in 1..=TRIES {
        // Data that was lost, or a map without any path, is given up by force only.
        let job = DisconnectJob { force: attempt == TRIES, deadline: 600, flush: 120, by: By::Connection };
        match verbs::detach(stage, None, volume, job).await {
            Some(Ok(_)) => return nothing_left(stage, volume),
            Some(Err(error)) => why = format!("{error}; {:?}", error.leftovers),
            None => why = "it died".into(),
        }
        if wedged(stage, volume) {
            return;
        }
        stage.sim.sleep(BETWEEN).await;
    }
    stage.wrong(format!("everything is healed, and volume {volume} cannot be detached: {why}"));
}

fn nothing_left(stage: &Stage, volume: usize) {
    if wedged(stage, volume) {
        return;
    }
    let before = stage.with(|inside| inside.before.clone());
    let left = stage.sim.with(|world| check::left(world, &stage.scenario, &before, volume));
    if !left.is_empty() {
        stage.wrong(format!("everything is healed and detached, and there is {left:?} of volume {volume}"));
    }
}

/// The host is as it was before anything began.
fn quiet(stage: &Stage) {
    if (0..stage.scenario.volumes).any(|volume| wedged(stage, volume)) {
        return;
    }
    let before = stage.with(|inside| inside.before.clone());
    for volume in 0..stage.scenario.volumes {
        nothing_left(stage, volume);
    }
    let wrongs = stage.sim.with(|world| {
        let mut wrongs = before.missing(world);
        wrongs.extend(before.changed(world));
        wrongs.extend(world.locks_held().into_iter().map(|lock| format!("lock {lock} is held for ever")));
        // One of ours has the number of a process that is gone: whoever meets it removes it (`iscsi/lock.rs`).
        if world.database.lock.as_ref().is_some_and(|text| !text.starts_with(b"bowline ")) {
            wrongs.push("open-iscsi's lock was left behind".into());
        }
        wrongs.extend(world.state.keys().map(|name| format!("state file {name} is left")));
        wrongs
    });
    wrongs.into_iter().for_each(|wrong| stage.wrong(format!("in the end: {wrong}")));
}
