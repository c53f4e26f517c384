//! What a history keeps beside the world.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bowline::Canceller;
use bowline::event::{Event, Observer};

use crate::check::Before;
use crate::executor::{Sim, Spawner, TaskId};
use crate::model::Use;
use crate::scenario::Scenario;

/// The stage.
#[derive(Clone)]
pub struct Stage {
    /// The world.
    pub sim: Sim,
    /// What is played.
    pub scenario: Rc<Scenario>,
    spawner: Spawner,
    inside: Rc<RefCell<Inside>>,
}

/// What changes on it.
#[derive(Default)]
pub struct Inside {
    /// What others had before anything began.
    pub before: Before,
    /// By volume.
    pub volumes: Vec<VolumeState>,
    /// By lane: the process that is at it.
    pub actors: Vec<Option<Actor>>,
    /// How often what is exported was changed.
    pub exports_changed: u64,
    /// Nothing goes wrong any more.
    pub healed: bool,
}

/// The process of a lane.
#[derive(Clone)]
pub struct Actor {
    /// What runs it.
    pub task: TaskId,
    /// Its id.
    pub pid: u32,
    /// Asks it to stop.
    pub canceller: Canceller,
}

/// What is known of a volume.
#[derive(Default)]
pub struct VolumeState {
    /// Verbs that are under way at it.
    pub verbs: u32,
    /// How many were begun.
    pub begun: u64,
    /// The node that was handed out last.
    pub node: Option<String>,
    /// Who uses it.
    pub uses: Vec<Use>,
    /// Writes of which the caller believes that they are, or will be, on the volume.
    pub owed: BTreeSet<u64>,
    /// Writes to a disk that was about to be deleted: nobody can see to them where it was, and they are owed where it was not.
    pub late: Vec<(u64, BTreeSet<u64>)>,
    /// Somebody else has scanned for it: what is there then need not be bowline's.
    pub strange: bool,
    /// A verb has died, or has left something, since it was last clean: what that had begun may still come.
    pub unsettled: bool,
}

impl Stage {
    /// At the beginning.
    pub fn new(sim: Sim, spawner: Spawner, scenario: Scenario) -> Self {
        let mut inside = Inside::default();
        inside.volumes.resize_with(scenario.volumes + 1, VolumeState::default);
        inside.actors.resize_with(scenario.lanes.len(), || None);
        Self { sim, scenario: Rc::new(scenario), spawner, inside: Rc::new(RefCell::new(inside)) }
    }

    /// Runs beside everything else.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) -> TaskId {
        self.spawner.spawn(&self.sim, task)
    }

    /// Looks at it or changes it; the world may be looked at within.
    pub fn with<T>(&self, work: impl FnOnce(&mut Inside) -> T) -> T {
        work(&mut self.inside.borrow_mut())
    }

    /// What must not be.
    pub fn wrong(&self, what: impl Into<String>) {
        self.sim.with(|world| world.wrong(what.into()));
    }
}

/// Listens to a verb: what it tells goes into the trace, and must hold no secret.
pub struct Listener(pub Sim);

impl Observer for Listener {
    fn event(&self, _at: Duration, event: &Event) {
        self.0.with(|world| {
            let text = format!("{event:?}");
            if world.secrets.iter().any(|secret| text.contains(secret.as_str())) {
                world.wrong("B8: a secret in an event".into());
            }
            world.note("event", format_args!("{text}"));
        });
    }
}
