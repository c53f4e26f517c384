//! Wishes are dealt out to guests, which answer each with a line of JSON. A guest is used for some of them, then a fresh
//! one is taken. A wish in whose middle its guest hangs or dies is lost, and told as that; so is one that two guests could not
//! bring to its end. What a guest did not begin is tried in another.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use lab_experiment::{LONGEST_RUN, Outcome, Step};
use lab_wire::{Context, Failure, Spec};
use serde::Deserialize;

use super::peers;
use super::recording::{Line, Recording};
use crate::lab::{Place, Programs, Ready, Script, Steps, Stop, Stream, Suite, Verdict, follow, repository};

/// What the guest has besides what every guest has.
const PROGRAMS: Programs = Programs {
    packages: &["lab", "bowline-cli", "bowline-linux", "lab-experiment", "bowline-resident"],
    names: &["lab", "bowline", "bowline-helper", "experiment", "bowline-resident"],
};
/// Where `xtask/src/lab/binaries.rs` has them built.
const BUILT: &str = "target/lab/x86_64-unknown-linux-gnu/release";
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
    pub why: String,
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

/// Everything that the guests of an experiment are booted from.
pub struct Guests {
    ready: Ready,
    /// When each of what goes into them was made.
    made: Vec<SystemTime>,
    /// What they are asked to do.
    verb: &'static str,
}

impl Guests {
    /// Sees to it that image, programs and peers are there.
    pub fn ready(verb: &'static str) -> Result<Self, Stop> {
        let brought = peers::ready(&repository())?;
        let mut steps = Steps::start();
        let ready = Ready::with(Suite::Bookworm, PROGRAMS, brought, &mut steps)?;
        Ok(Self { ready, made: made()?, verb })
    }

    /// Each guest gets the programs anew from where they were built, and whoever builds meanwhile puts others there: what they do
    /// would stand in the data under the commit that the campaign began with.
    fn unchanged(&self) -> Result<(), Failure> {
        match made()? == self.made {
            true => Ok(()),
            false => Err(Failure::new(
                "the programs for the guests were built anew meanwhile; what was run until then is in the data: begin again",
            )),
        }
    }

    /// Brings wishes to their end in guests of that shape, and records each.
    pub fn fulfil<L: Line>(
        &self,
        shape: &Spec,
        mut rest: Vec<L::Wish>,
        recording: &Recording<L>,
    ) -> Result<(), Failure> {
        let mut tries = 0;
        while !rest.is_empty() {
            let before = rest.len();
            let ended = self.in_one_guest(shape, &mut rest, tries, recording)?;
            let progressed = rest.len() < before;
            match next(&ended.verdict, progressed, ended.under_way.is_some(), tries) {
                Next::Another(again) => tries = again,
                Next::Lost => {
                    let Some((wish, began)) = ended.under_way else { continue };
                    rest.retain(|other| *other != wish);
                    let lost = Lost { wish, seconds: began.elapsed().as_secs_f64(), why: ended.why };
                    recording.lose(lost, if progressed { 0 } else { tries })?;
                    tries = 0;
                }
                Next::GivenUp => {
                    let given_up = serde_json::to_string(&rest.remove(0)).unwrap_or_default();
                    eprintln!("experiment: given up after {TRIES} guests: {given_up}: {}", ended.why);
                    tries = 0;
                }
            }
        }
        Ok(())
    }

    fn in_one_guest<L: Line>(
        &self,
        shape: &Spec,
        rest: &mut Vec<L::Wish>,
        tries: usize,
        recording: &Recording<L>,
    ) -> Result<Ended<L::Wish>, Failure> {
        self.unchanged()?;
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
        let (mut line, mut said) = (Vec::new(), Vec::new());
        let mut under_way = None;
        // What another guest could not bring to its end is the first.
        let mut tries = tries;
        let output = |stream, bytes: &[u8]| {
            if stream == Stream::Err {
                eprint!("{}", String::from_utf8_lossy(bytes));
                said.extend_from_slice(bytes);
                return Ok(());
            }
            for &byte in bytes {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let told = std::mem::take(&mut line);
                if told.is_empty() {
                    continue;
                }
                if let Ok(Begins { begins }) = serde_json::from_slice(&told) {
                    under_way = Some((begins, Instant::now()));
                    said.clear();
                    continue;
                }
                let done = recording.take(&told, std::mem::take(&mut tries))?;
                rest.retain(|wish| *wish != done);
                under_way = None;
            }
            Ok(())
        };
        let verdict = follow(machine, limit, Some(SILENT), None, output, &mut steps)?;
        if !matches!(verdict, Verdict::Ended(0 | 3)) {
            verdict.report(&place.console());
        }
        Ok(Ended { why: why(&verdict, &said), verdict, under_way })
    }
}

/// When the guest's programs and os-brick's driver were last written, in that order.
fn made() -> Result<Vec<SystemTime>, Failure> {
    let repo = repository();
    let programs = PROGRAMS.names.iter().map(|name| repo.join(BUILT).join(name));
    let files = programs.chain([repo.join(peers::CONTENDER)]);
    let at = |file: PathBuf| {
        let written = fs::metadata(&file).and_then(|seen| seen.modified());
        written.context(|| format!("cannot look at {}", file.display()))
    };
    files.map(at).collect()
}

/// How a guest ended.
struct Ended<W> {
    verdict: Verdict,
    /// The wish that it did not bring to its end, and since when it was at it.
    under_way: Option<(W, Instant)>,
    why: String,
}

/// The verdict, and the last that was said on standard error since the wish began.
fn why(verdict: &Verdict, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("{}; its last word: {}", verdict.sentence(), last.trim()),
        None => verdict.sentence().to_owned(),
    }
}

/// What comes after a guest.
#[derive(Debug, PartialEq)]
enum Next {
    /// Another guest, which begins with a wish that was begun in vain so often.
    Another(usize),
    /// The wish under way is lost.
    Lost,
    /// The first of the rest is not even begun, by one guest after the other.
    GivenUp,
}

/// `progressed`: it brought a wish to its end; `began`: there is one that it did not; `tries`: so many guests had come to nothing with the
/// first one before.
fn next(verdict: &Verdict, progressed: bool, began: bool, tries: usize) -> Next {
    let tries = if progressed { usize::from(began) } else { tries + 1 };
    // Who ended in its middle by himself could not go on, and says why: perhaps it was the laboratory, so it is tried once more.
    let by_itself = matches!(verdict, Verdict::Ended(_));
    match (began, by_itself, tries >= TRIES) {
        (true, false, _) | (true, true, true) => Next::Lost,
        (false, _, true) => Next::GivenUp,
        (_, _, false) => Next::Another(tries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_its_guest_did_not_survive_is_lost_at_once() {
        for (progressed, tries) in [(true, 0), (false, 0), (false, 1)] {
            assert_eq!(next(&Verdict::GuestHung, progressed, true, tries), Next::Lost);
            assert_eq!(next(&Verdict::Died(String::new()), progressed, true, tries), Next::Lost);
        }
    }

    #[test]
    fn what_the_experiment_itself_abandons_is_begun_once_more_and_that_is_counted() {
        let aborted = Verdict::Ended(2);
        // As the sixth of its guest, then as the first of the next one.
        assert_eq!(next(&aborted, true, true, 0), Next::Another(1));
        assert_eq!(next(&aborted, false, true, 1), Next::Lost);
        // As the first of its guest.
        assert_eq!(next(&aborted, false, true, 0), Next::Another(1));
        // What it had failed with before is over.
        assert_eq!(next(&aborted, true, true, 1), Next::Another(1));
    }

    #[test]
    fn a_guest_that_begins_nothing_is_tried_once_more() {
        assert_eq!(next(&Verdict::Died(String::new()), false, false, 0), Next::Another(1));
        assert_eq!(next(&Verdict::Died(String::new()), false, false, 1), Next::GivenUp);
        assert_eq!(next(&Verdict::Ended(3), true, false, 0), Next::Another(0));
    }

    #[test]
    fn why_a_guest_was_lost_says_its_last_word() {
        let ended = Verdict::Ended(2);
        assert_eq!(why(&ended, b""), "the script ended");
        assert_eq!(
            why(&ended, b"one\nno answer for 120 s\n\n"),
            "the script ended; its last word: no answer for 120 s"
        );
    }
}
