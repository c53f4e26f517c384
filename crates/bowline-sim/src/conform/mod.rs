//! Plays a case of the list that the laboratory plays as well (bowline-conformance), on a host without trouble of its own.

mod stage;
mod target;
mod users;
mod verbs;

use std::cell::RefCell;
use std::rc::Rc;

use bowline_conformance::Case;
use serde_json::Value;

use self::stage::SimStage;
use crate::executor::{Ended, Sim, Spawner, run};
use crate::faults::Faults;
use crate::model::{self, World};

/// A record, or why there is none.
pub type Record = Result<Vec<Value>, String>;

/// How a case was played.
pub struct Played {
    /// What was seen.
    pub record: Record,
    /// What happened.
    pub trace: String,
}

/// Plays a case. Seeds differ in latencies only, so every one of them must give the same record.
pub fn play(case: &Case, seed: u64) -> Played {
    let setup = stage::setup(case);
    let links = stage::links();
    let mut world = World::new(seed, setup, links, target::storage(case), Faults::default());
    world.keep_trace();
    let sim = Sim::new(world);
    let spawner = Spawner::default();
    let slot: Rc<RefCell<Option<Record>>> = Rc::default();
    let (told, case, stage) = (slot.clone(), case.clone(), SimStage::new(&sim, &spawner, case));
    let (udev, checker) = (sim.clone(), sim.clone());
    sim.spawn(model::udev_boot(udev));
    sim.spawn(model::checker(checker));
    let ended = run(&sim, &spawner, async move {
        let mut stage = stage;
        let record = bowline_conformance::play(&case, &mut stage).await;
        *told.borrow_mut() = Some(record);
    });
    let record = match (ended, slot.take()) {
        (Ended::Done, Some(record)) => record,
        (ended, _) => Err(format!("{ended:?}")),
    };
    sim.with(|world| {
        // Others bring things in without an intent of bowline's.
        let mut wrongs = std::mem::take(&mut world.wrongs);
        wrongs.retain(|wrong| !wrong.starts_with("B4: no intent"));
        let record = match wrongs.is_empty() {
            true => record,
            false => Err(wrongs.join("; ")),
        };
        Played { record, trace: world.trace().to_owned() }
    })
}
