//! Plays a scenario: boots the host, lets the lanes work while things go wrong, heals everything, and demands that the host
//! converges.

mod finale;
mod lanes;
mod stage;
mod tenants;
mod troubles;
mod verbs;

pub use stage::Stage;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::Before;
use crate::executor::{Ended, Sim, Spawner, run};
use crate::faults::{Fault, Faults, Mark};
use crate::model::{self, World};
use crate::scenario::{SECRET, Scenario, Tenant};

/// How a history ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What must not be.
    pub wrongs: Vec<String>,
    /// What was met.
    pub marks: BTreeSet<Mark>,
    /// Stands for everything that happened.
    pub digest: u64,
    /// Everything that happened, if it was kept.
    pub trace: String,
    /// How long it took on the host.
    pub lasted: Duration,
}

/// Plays a scenario; with its trace, if that is wanted.
pub fn play(scenario: &Scenario, keep_trace: bool) -> Verdict {
    let faults = Faults::new(&scenario.faults);
    let mut world =
        World::new(scenario.seed, scenario.setup.clone(), scenario.links(), scenario.storage(), faults);
    if keep_trace {
        world.keep_trace();
    }
    if scenario.chap {
        world.secrets.push(SECRET.to_owned());
    }
    let sim = Sim::new(world);
    let spawner = Spawner::default();
    let stage = Stage::new(sim.clone(), spawner.clone(), scenario.clone());
    let ended = run(&sim, &spawner, history(stage));
    sim.with(|world| {
        match ended {
            Ended::Done => {}
            Ended::Stuck => world.wrong("everything waits, and nothing will happen any more".into()),
            Ended::Spins => world.wrong("something runs for ever, and no time passes".into()),
            Ended::Panicked(why) => world.wrong(format!("a panic: {why}")),
        }
        #[cfg(feature = "sabotage")]
        bowline::take_met().into_iter().for_each(|rule| world.faults.mark(Mark::Rule(rule)));
        Verdict {
            wrongs: std::mem::take(&mut world.wrongs),
            marks: world.faults.marks().clone(),
            digest: world.trace_digest(),
            trace: world.trace().to_owned(),
            lasted: world.now(),
        }
    })
}

async fn history(stage: Stage) {
    let sim = stage.sim.clone();
    let (udev, checker) = (sim.clone(), sim.clone());
    sim.spawn(model::udev_boot(udev));
    sim.spawn(model::checker(checker));
    tenants::move_in(&stage).await;
    let before = sim.with(|world| {
        let mut before = Before::of(world);
        if stage.scenario.tenants.iter().any(|tenant| matches!(tenant, Tenant::Stale(_))) {
            before.disregard();
        }
        before
    });
    stage.with(|inside| inside.before = before);
    let began = sim.now();
    for fault in &stage.scenario.faults {
        if let Fault::AtTime(at, trouble) = fault {
            troubles::plan(&stage, began + *at, trouble.clone());
        }
    }
    lanes::all(&stage, began).await;
    troubles::heal(&stage);
    finale::converge(&stage).await;
}
