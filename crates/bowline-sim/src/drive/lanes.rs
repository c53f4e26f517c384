//! The lanes: one job after another at one volume, several lanes at once.

use std::time::Duration;

use super::{Stage, troubles, verbs};
use crate::model;
use crate::random::Random;
use crate::scenario::{Job, Lane};

/// Plays every lane; comes back when all have come to their end.
pub async fn all(stage: &Stage, began: Duration) {
    let running: Vec<std::rc::Rc<()>> = (0..stage.scenario.lanes.len())
        .map(|number| {
            let token = std::rc::Rc::new(());
            let (work, held) = (stage.clone(), token.clone());
            stage.spawn(async move {
                let lane = work.scenario.lanes[number].clone();
                work.sim.sleep_until(began + lane.start).await;
                play(&work, number, &lane).await;
                drop(held);
            });
            token
        })
        .collect();
    stage.sim.until(|_| running.iter().all(|t| std::rc::Rc::strong_count(t) == 1).then_some(())).await;
}

async fn play(stage: &Stage, number: usize, lane: &Lane) {
    let mut random = Random::split(stage.scenario.seed, &format!("lane {number}"));
    for job in &lane.jobs {
        // Who died is started again with the same, or goes on with what comes next.
        while !one(stage, number, lane.volume, job).await {
            stage.sim.sleep(random.any_millis(3_000)).await;
            if random.in_thousand(500) {
                break;
            }
        }
    }
}

/// One job; false when its process died.
async fn one(stage: &Stage, number: usize, volume: usize, job: &Job) -> bool {
    match job {
        Job::Connect(job) => verbs::attach(stage, Some(number), volume, *job).await.is_some(),
        Job::Disconnect(job) => verbs::detach(stage, Some(number), volume, *job).await.is_some(),
        Job::Write { writes, stays_open } => {
            write(stage, volume, *writes, *stays_open).await;
            true
        }
        Job::Unexport(time) => {
            let work = stage.clone();
            let time = *time;
            stage.spawn(async move {
                troubles::export(&work, volume, None);
                work.sim.sleep(time).await;
                troubles::export(&work, volume, Some(volume));
            });
            true
        }
        Job::Close => {
            close(stage, volume, Duration::from_secs(30)).await;
            true
        }
        Job::Pause(time) => {
            stage.sim.sleep(*time).await;
            true
        }
        Job::Inspect => {
            verbs::look(stage, number).await;
            true
        }
    }
}

async fn write(stage: &Stage, volume: usize, writes: u64, stays_open: bool) {
    let Some(node) = stage.with(|inside| inside.volumes[volume].node.clone()) else { return };
    let Some(begun) = model::begin_use(&stage.sim, &node, writes) else { return };
    stage.with(|inside| {
        let state = &mut inside.volumes[volume];
        match begun.late {
            Some(disk) => state.late.push((disk, begun.writes.clone())),
            None => state.owed.extend(&begun.writes),
        }
        state.uses.push(begun.clone());
    });
    if !stays_open {
        model::end_use(&stage.sim, &begun, Duration::from_secs(10)).await;
    }
}

/// Whoever has the volume open closes it; comes back when they have, or after a while.
pub async fn close(stage: &Stage, volume: usize, patience: Duration) {
    let uses = stage.with(|inside| std::mem::take(&mut inside.volumes[volume].uses));
    for used in uses {
        if stage.sim.with(|world| world.is_open(&used)) {
            model::end_use(&stage.sim, &used, patience).await;
        }
    }
}
