//! Wishes are dealt out to guests, which answer each with a line of JSON. A guest is used for some of them, then a fresh
//! one is taken. A wish in whose middle its guest hangs or dies is lost, and told as that; so is one that two guests could not
//! bring to its end. What a guest did not begin is tried in another.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab_experiment::{LONGEST_RUN, Outcome, Step};
use lab_wire::{Context, Failure, Spec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::peers;
use crate::lab::{Place, Programs, Ready, Script, Steps, Stop, Stream, Suite, Verdict, follow, repository};

/// What the guest has besides what every guest has.
const PROGRAMS: Programs = Programs {
    packages: &["lab", "bowline-cli", "bowline-linux", "lab-experiment", "bowline-resident"],
    names: &["lab", "bowline", "bowline-helper", "experiment", "bowline-resident"],
};
/// A guest is used for so many wishes.
pub const PER_GUEST: usize = 12;
/// A guest that gives no sign of life for so long stands still as a whole, or what it is at does.
const SILENT: Duration = Duration::from_secs(300);
/// A wish is tried in so many guests.
const TRIES: usize = 2;

/// What a guest says before it begins with a wish.
#[derive(Deserialize)]
struct Begins<W> {
    begins: W,
}

/// A wish in whose middle its guest was lost.
pub struct Lost<W> {
    /// The wish.
    pub wish: W,
    /// After so many seconds.
    pub seconds: f64,
    /// How its last guest ended.
    pub why: &'static str,
}

impl<W> Lost<W> {
    /// The call that was never answered.
    pub fn step(&self) -> Step {
        let error = Some(format!("its guest was lost: {}", self.why));
        let (outcome, seconds) = (Outcome::Died, self.seconds);
        Step { outcome, seconds, error, loss_told: false, programs: None, memory: None }
    }

    /// What was left, by kind: the guest itself.
    pub fn left() -> BTreeMap<String, usize> {
        [("guests".to_owned(), 1)].into()
    }
}

/// Takes what a guest says, and how often it was begun in vain before; says which wish it was.
pub type Take<'a, W> = dyn Fn(&[u8], usize) -> Result<W, Failure> + 'a;

/// Everything that the guests of an experiment are booted from.
pub struct Guests {
    ready: Ready,
    /// What they are asked to do.
    verb: &'static str,
}

impl Guests {
    /// Sees to it that image, programs and peers are there.
    pub fn ready(verb: &'static str) -> Result<Self, Stop> {
        let brought = peers::ready(&repository())?;
        let mut steps = Steps::start();
        let ready = Ready::with(Suite::Bookworm, PROGRAMS, brought, &mut steps)?;
        Ok(Self { ready, verb })
    }

    /// Brings wishes to their end in guests of that shape. Whatever a guest says is handed to `take`, which says which
    /// wish that was, with how often it was begun in vain before; of one that was lost `lose` is told.
    pub fn fulfil<W: Serialize + DeserializeOwned + PartialEq>(
        &self,
        shape: &Spec,
        mut rest: Vec<W>,
        take: &Take<'_, W>,
        lose: &dyn Fn(Lost<W>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut tries = 0;
        while !rest.is_empty() {
            let before = rest.len();
            let (verdict, under_way) = self.in_one_guest(shape, &mut rest, tries, take)?;
            tries = if rest.len() < before { 0 } else { tries + 1 };
            // Who ended in its middle by himself could not go on, and says why: perhaps it was the laboratory, so it is tried once more.
            let lost = !matches!(verdict, Verdict::Ended(_)) || tries == TRIES;
            if let (true, Some((wish, began))) = (lost, under_way) {
                rest.retain(|other| *other != wish);
                tries = 0;
                lose(Lost { wish, seconds: began.elapsed().as_secs_f64(), why: verdict.sentence() })?;
            }
            if tries == TRIES {
                let given_up = serde_json::to_string(&rest.remove(0)).unwrap_or_default();
                eprintln!("experiment: given up after {TRIES} guests: {given_up}: {}", verdict.sentence());
                tries = 0;
            }
        }
        Ok(())
    }

    /// How the guest ended, and the wish that it did not bring to its end, and since when it was at it.
    fn in_one_guest<W: Serialize + DeserializeOwned + PartialEq>(
        &self,
        shape: &Spec,
        rest: &mut Vec<W>,
        tries: usize,
        take: &Take<'_, W>,
    ) -> Result<(Verdict, Option<(W, Instant)>), Failure> {
        let place = Place::make(&repository(), false)?;
        let share = &rest[..rest.len().min(PER_GUEST)];
        let limit = LONGEST_RUN * u32::try_from(share.len()).unwrap_or(1);
        let script = Script::program("experiment");
        let mut args = vec![self.verb.to_owned()];
        for wish in share {
            args.push(serde_json::to_string(wish).context(|| "cannot write a wish as JSON")?);
        }
        let spec = Spec { script: script.in_guest.clone(), args, timeout: limit.as_secs(), ..shape.clone() };
        let mut steps = Steps::start();
        steps.quiet();
        let machine = self.ready.boot(&place, &script, &spec, &mut steps)?;
        let mut line = Vec::new();
        let mut under_way = None;
        // What another guest could not bring to its end is the first.
        let mut tries = tries;
        let output = |stream, bytes: &[u8]| {
            if stream == Stream::Err {
                eprint!("{}", String::from_utf8_lossy(bytes));
                return Ok(());
            }
            for &byte in bytes {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let said = std::mem::take(&mut line);
                if said.is_empty() {
                    continue;
                }
                if let Ok(Begins { begins }) = serde_json::from_slice(&said) {
                    under_way = Some((begins, Instant::now()));
                    continue;
                }
                let done = take(&said, std::mem::take(&mut tries))?;
                rest.retain(|wish| *wish != done);
                under_way = None;
            }
            Ok(())
        };
        let verdict = follow(machine, limit, Some(SILENT), None, output, &mut steps)?;
        if !matches!(verdict, Verdict::Ended(0 | 3)) {
            verdict.report(&place.console());
        }
        Ok((verdict, under_way))
    }
}
