//! What happens to the host at a time, and how everything is healed in the end.

use std::time::Duration;

use super::{Mark, Stage};
use crate::faults::Trouble;
use crate::model::{self, Mode, Power, SessionState};

/// Lets a trouble happen at a time.
pub fn plan(stage: &Stage, at: Duration, trouble: Trouble) {
    let work = stage.clone();
    stage.spawn(async move {
        work.sim.sleep_until(at).await;
        if work.with(|inside| inside.healed) {
            return;
        }
        work.sim.with(|world| {
            world.note("TROUBLE", format_args!("{trouble:?}"));
            world.faults.mark(Mark::Trouble(trouble.name()));
        });
        befall(&work, trouble).await;
    });
}

async fn befall(stage: &Stage, trouble: Trouble) {
    let sim = &stage.sim;
    let mode = |portals: &std::collections::BTreeSet<usize>, mode: Mode| {
        sim.with(|world| portals.iter().for_each(|p| world.set_link(*p, |link| link.mode = mode)));
    };
    match trouble {
        Trouble::BlackHole(portals, lasts) => {
            mode(&portals, Mode::BlackHole);
            sim.sleep(lasts).await;
            mode(&portals, Mode::Up);
        }
        Trouble::Reject(portals, lasts) => {
            mode(&portals, Mode::Reject);
            sim.sleep(lasts).await;
            mode(&portals, Mode::Up);
        }
        Trouble::Silent(portals, lasts) => {
            mode(&portals, Mode::Silent);
            sim.sleep(lasts).await;
            mode(&portals, Mode::Up);
        }
        Trouble::Loss(portals, loss, lasts) => {
            let set = |loss| {
                sim.with(|world| portals.iter().for_each(|p| world.set_link(*p, |link| link.loss = loss)));
            };
            set(loss);
            sim.sleep(lasts).await;
            set(0);
        }
        Trouble::Slow(portals, delay, lasts) => {
            let set = |delay| {
                sim.with(|world| portals.iter().for_each(|p| world.set_link(*p, |link| link.delay = delay)));
            };
            set(delay);
            sim.sleep(lasts).await;
            set(stage.scenario.delay);
        }
        Trouble::Reset(portals) => {
            sim.with(|world| portals.iter().for_each(|p| world.set_link(*p, |link| link.resets += 1)));
        }
        Trouble::IscsidDies(lasts) => {
            model::kill_iscsid(sim);
            sim.sleep(lasts).await;
            if sim.with(|world| world.iscsid.power) == Power::Dead {
                model::start_iscsid(sim);
            }
        }
        Trouble::IscsidFreezes(lasts) => {
            if sim.with(|world| world.iscsid.power) == Power::Runs {
                sim.with(|world| world.iscsid.power = Power::Frozen);
                sim.sleep(lasts).await;
                thaw_iscsid(stage);
            }
        }
        Trouble::MultipathdDies(lasts) => {
            sim.with(|world| {
                world.multipathd.power = Power::Dead;
                world.touch();
            });
            sim.sleep(lasts).await;
            if sim.with(|world| world.multipathd.power) == Power::Dead {
                model::start_multipathd(sim);
            }
        }
        Trouble::MultipathdFreezes(lasts) => {
            if sim.with(|world| world.multipathd.power) == Power::Runs {
                sim.with(|world| world.multipathd.power = Power::Frozen);
                sim.sleep(lasts).await;
                thaw_multipathd(stage);
            }
        }
        other => befall_rest(stage, other).await,
    }
}

async fn befall_rest(stage: &Stage, trouble: Trouble) {
    let sim = &stage.sim;
    match trouble {
        Trouble::MultipathdBusy(busy, lasts) => {
            sim.with(|world| world.multipathd.busy = busy);
            sim.sleep(lasts).await;
            sim.with(|world| world.multipathd.busy = Duration::ZERO);
        }
        Trouble::UdevBusy(busy, lasts) => {
            sim.with(|world| world.udev.busy = busy);
            sim.sleep(lasts).await;
            sim.with(|world| world.udev.busy = Duration::ZERO);
        }
        Trouble::EventsLost => sim.with(|world| world.uevents.lose()),
        Trouble::Unmapped(volume, lasts) => {
            export(stage, volume, None);
            sim.sleep(lasts).await;
            export(stage, volume, Some(volume));
        }
        Trouble::Reused(volume, by, lasts) => {
            export(stage, volume, Some(by));
            sim.sleep(lasts).await;
            export(stage, volume, Some(volume));
        }
        Trouble::ForeignScan(volume) => {
            stage.with(|inside| inside.volumes[volume].strange = true);
            let hosts: Vec<u32> = sim.with(|world| {
                let ours = world.sessions.values().filter(|session| {
                    !session.foreign && session.iqn == stage.scenario.iqn(volume, session.portal)
                });
                ours.map(|session| session.host).collect()
            });
            for host in hosts {
                let _ = model::begin_scan(sim, host, stage.scenario.lun(volume)).await;
            }
        }
        Trouble::ForeignVolume(volume) => others_use(stage, volume).await,
        Trouble::Signal(lane) => {
            if let Some(actor) = stage.with(|inside| inside.actors[lane].clone()) {
                actor.canceller.cancel();
            }
        }
        Trouble::Killed(lane) => {
            if let Some(actor) = stage.with(|inside| inside.actors[lane].take()) {
                sim.with(|world| world.end_process(actor.pid));
                sim.kill(actor.task);
            }
        }
        Trouble::StaleDatabaseLock(lasts) => {
            let taken = sim.with(|world| match world.database.lock {
                None => {
                    world.database.lock = Some(Vec::new());
                    true
                }
                Some(_) => false,
            });
            if taken {
                sim.sleep(lasts).await;
                sim.with(|world| world.database.lock = None);
            }
        }
        _ => {}
    }
}

/// Others scan for a volume of theirs below a session that is there, whoever made it.
async fn others_use(stage: &Stage, volume: usize) {
    let foreign = stage.scenario.foreign_volume();
    let lun = stage.scenario.lun(foreign);
    let sessions: Vec<(u32, u32)> = stage.sim.with(|world| {
        let scenario = &stage.scenario;
        let of_volume = world.sessions.values_mut().filter(|session| {
            session.state == SessionState::LoggedIn && session.iqn == scenario.iqn(volume, session.portal)
        });
        of_volume
            .map(|session| {
                session.foreign_luns.insert(lun);
                (session.sid, session.host)
            })
            .collect()
    });
    for (sid, host) in sessions {
        let _ = model::begin_scan(&stage.sim, host, lun).await;
        // A logout that had begun already cannot know of it.
        stage.sim.sleep(Duration::from_secs(20)).await;
        let ends = |world: &mut crate::model::World| {
            let logout =
                |process: &crate::model::Process| process.args.last().is_some_and(|arg| arg == "--logout");
            (!world.processes.values().any(logout)).then_some(())
        };
        stage.sim.until(ends).await;
        stage.with(|inside| {
            let disk = stage.sim.with(|world| world.disk_at(host, lun).map(|disk| disk.id));
            if let Some(disk) = disk {
                inside.before.adopt(disk, sid);
            }
        });
    }
}

/// Puts a volume, or none, behind the LUN of another.
pub fn export(stage: &Stage, volume: usize, by: Option<usize>) {
    stage.with(|inside| inside.exports_changed += 1);
    let lun = stage.scenario.lun(volume);
    stage.sim.with(|world| {
        let portals = 0..stage.scenario.portals;
        let iqns: Vec<String> = portals.map(|portal| stage.scenario.iqn(volume, portal)).collect();
        for target in world.storage.targets.iter_mut().filter(|target| iqns.contains(&target.iqn)) {
            match by {
                Some(by) => target.luns.insert(lun, by),
                None => target.luns.remove(&lun),
            };
        }
        world.note("target", format_args!("LUN {lun} is volume {by:?}"));
        world.touch();
    });
}

fn thaw_iscsid(stage: &Stage) {
    stage.sim.with(|world| {
        if world.iscsid.power == Power::Frozen {
            world.iscsid.power = Power::Runs;
            world.touch();
        }
    });
}

fn thaw_multipathd(stage: &Stage) {
    stage.sim.with(|world| {
        if world.multipathd.power == Power::Frozen {
            world.multipathd.power = Power::Runs;
            world.touch();
        }
    });
}

/// Everything is in order again, and stays so.
pub fn heal(stage: &Stage) {
    let sim = &stage.sim;
    stage.with(|inside| inside.healed = true);
    sim.with(|world| {
        world.note("TROUBLE", format_args!("is over"));
        world.faults.end();
        world.multipathd.busy = Duration::ZERO;
        world.udev.busy = Duration::ZERO;
        for portal in 0..stage.scenario.portals {
            world.set_link(portal, |link| {
                link.mode = Mode::Up;
                link.loss = 0;
                link.delay = stage.scenario.delay;
            });
        }
        if world.database.lock.as_ref().is_some_and(Vec::is_empty) {
            world.database.lock = None;
        }
    });
    for volume in 0..stage.scenario.volumes {
        export(stage, volume, Some(volume));
    }
    thaw_iscsid(stage);
    thaw_multipathd(stage);
    if sim.with(|world| world.iscsid.power) == Power::Dead {
        model::start_iscsid(sim);
    }
    if sim.with(|world| world.multipathd.power) == Power::Dead {
        model::start_multipathd(sim);
    }
}
