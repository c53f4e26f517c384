//! Those who do the work, behind one interface.

mod command;
mod floor;
mod memory;
mod resident;

use std::cmp::Reverse;
use std::time::Duration;

use lab_experiment::{Contender, Outcome, Step};
use lab_wire::Failure;
use serde_json::Value;

/// Python reads a hundred modules under emulation before it answers.
const START_LIMIT: Duration = Duration::from_secs(120);
/// What was killed is waited for so long; what hangs in the kernel may not die of it, and is left behind.
const DYING_LIMIT: Duration = Duration::from_secs(10);

/// What a call with that limit takes at most, in seconds: its contender is started for it, killed, and waited for.
pub const fn longest_call(limit: Duration) -> u64 {
    START_LIMIT.as_secs() + limit.as_secs() + DYING_LIMIT.as_secs()
}

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

/// Somebody who attaches and detaches, several volumes at once. What takes longer than its limit is ended by SIGKILL; the floor, which is
/// no process of its own, gives up.
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

/// All of them together: the worst outcome, and what was said where it was first met.
fn together(
    all: Vec<One>,
    seconds: f64,
    programs: Option<usize>,
    memory: Option<u64>,
) -> (Step, Vec<Option<String>>) {
    let worst = all.iter().min_by_key(|one| Reverse(one.outcome));
    let outcome = worst.map_or(Outcome::Ok, |one| one.outcome);
    let error = worst.and_then(|one| one.error.clone());
    let loss_told = all.iter().any(|one| one.loss_told);
    let step = Step { outcome, seconds, error, loss_told, programs, memory };
    (step, all.into_iter().map(|one| one.device).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(outcomes: &[(Outcome, &str)]) -> (Outcome, Option<String>) {
        let one = |(outcome, said): &(Outcome, &str)| One {
            outcome: *outcome,
            error: (*outcome != Outcome::Ok).then(|| (*said).to_owned()),
            device: None,
            loss_told: false,
        };
        let (step, devices) = together(outcomes.iter().map(one).collect(), 1.0, None, None);
        assert_eq!(devices.len(), outcomes.len());
        (step.outcome, step.error)
    }

    #[test]
    fn the_worst_counts_wherever_it_stands() {
        use Outcome::{Died, Failed, Killed, Ok};
        assert_eq!(all(&[(Ok, ""), (Ok, "")]), (Ok, None));
        assert_eq!(all(&[(Ok, ""), (Failed, "a"), (Failed, "b")]), (Failed, Some("a".to_owned())));
        assert_eq!(all(&[(Failed, "a"), (Ok, ""), (Killed, "b")]), (Killed, Some("b".to_owned())));
        assert_eq!(all(&[(Killed, "a"), (Died, "b"), (Failed, "c")]), (Died, Some("b".to_owned())));
    }

    #[test]
    fn a_loss_that_one_tells_of_is_told_and_devices_keep_their_order() {
        let one = |device: Option<&str>, loss_told| One {
            outcome: Outcome::Ok,
            error: None,
            device: device.map(str::to_owned),
            loss_told,
        };
        let (step, devices) = together(vec![one(None, false), one(Some("b"), true)], 2.0, Some(3), Some(4));
        assert!(step.loss_told);
        assert_eq!(devices, [None, Some("b".to_owned())]);
        assert_eq!((step.programs, step.memory), (Some(3), Some(4)));
    }
}
