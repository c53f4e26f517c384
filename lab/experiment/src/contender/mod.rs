//! Those who do the work, behind one interface.

mod command;
mod floor;
mod resident;

use std::time::Duration;

use lab_experiment::{Contender, Outcome, Step};
use lab_wire::Failure;
use serde_json::Value;

/// A volume to attach or detach.
#[derive(Clone, Debug)]
pub struct Volume {
    /// The properties, as a controller hands them out.
    pub connection: Value,
    /// Over several paths, with a map.
    pub multipath: bool,
}

/// What a call for one volume or several at once came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How it went, all in all: the seconds are those until the last answer, the programs and the memory those of all.
    pub step: Step,
    /// The device of each volume that was attached, in their order.
    pub devices: Vec<Option<String>>,
    /// What was told of the progress of the first volume, by those who tell.
    pub events: Vec<Value>,
}

/// Somebody who attaches and detaches, several volumes at once. What takes longer than its limit is ended by SIGKILL.
pub trait Contend {
    /// As he says himself.
    fn version(&self) -> String;
    /// Attaches volumes.
    fn attach(&mut self, volumes: &[Volume], limit: Duration) -> Result<Answer, Failure>;
    /// Detaches them; with force a clean host matters more than the data.
    fn detach(&mut self, volumes: &[Volume], force: bool, limit: Duration) -> Result<Answer, Failure>;
}

/// The contender, ready to be called. Who has a deadline for an attach has that one, or his own.
pub fn ready(contender: Contender, deadline: Option<Duration>) -> Result<Box<dyn Contend>, Failure> {
    const PYTHON: &str = "/usr/bin/python3";
    const OS_BRICK: &str = "/opt/lab/peers/os_brick_contender.py";
    Ok(match contender {
        Contender::Bowline => Box::new(command::Bowline::ready(deadline)?),
        Contender::BowlineLibrary => Box::new(resident::Resident::ready(&["bowline-resident"], deadline)?),
        Contender::OsBrick => {
            Box::new(resident::Resident::ready(&[PYTHON, OS_BRICK, "/opt/lab/peers/os-brick"], deadline)?)
        }
        Contender::OsBrick112 => Box::new(resident::Resident::ready(
            &[PYTHON, OS_BRICK, "/opt/lab/peers/os-brick-1.12"],
            deadline,
        )?),
        Contender::Floor => Box::new(floor::Floor),
    })
}

/// How one volume of a call ended.
struct One {
    outcome: Outcome,
    error: Option<String>,
    device: Option<String>,
    loss_told: bool,
}

/// All of them together: the worst outcome, and what was said there.
fn together(
    all: Vec<One>,
    seconds: f64,
    programs: Option<usize>,
    memory: Option<u64>,
) -> (Step, Vec<Option<String>>) {
    let worst = all.iter().find(|one| one.outcome != Outcome::Ok);
    let outcome = worst.map_or(Outcome::Ok, |one| one.outcome);
    let error = worst.and_then(|one| one.error.clone());
    let loss_told = all.iter().any(|one| one.loss_told);
    let step = Step { outcome, seconds, error, loss_told, programs, memory };
    (step, all.into_iter().map(|one| one.device).collect())
}
