//! The cases of one shape in one guest, and in a fresh one for the rest where a case cost it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lab_wire::{Context, Failure};

use super::header::Case;
use crate::lab::follow::{self, Verdict};
use crate::lab::machine::Place;
use crate::lab::payload::Script;
use crate::lab::steps::Steps;
use crate::lab::{Ready, command};

/// The guest's hand, which runs one case after another.
const HAND: &str = "lab/cases/runner/each.sh";
/// Begins a line of the hand's own, among the output of the cases.
const MARK: char = '\u{1e}';
/// Beside its limit, what a case costs: cleaning before, looking and healing after it.
const AROUND: Duration = Duration::from_secs(60);
/// How many of the last lines of a case that failed are shown.
const SHOWN: usize = 25;

/// How a case ended.
#[derive(Debug, PartialEq)]
pub struct Ending {
    /// Why it failed; nothing when it passed.
    pub failure: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// What it printed.
    pub output: String,
}

impl Ending {
    /// Whether all that it shows is so.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }

    /// The case's line, and for a failure the end of what it printed.
    pub fn show(&self, name: &str, count: &str) {
        match &self.failure {
            None => println!("ok      {count} {name:24} {:6.1}s", self.seconds),
            Some(why) => {
                println!("FAILED  {count} {name:24} {:6.1}s  {why}", self.seconds);
                for line in command::tail(&self.output, SHOWN).lines() {
                    println!("        | {line}");
                }
            }
        }
    }
}

/// Runs all of them, and tells each end at once. Each guest ends at least one case, so this ends.
pub fn run(
    ready: &Ready,
    cases: &[&Case],
    logs: &Path,
    tell: &mut dyn FnMut(&Case, Ending) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut rest = cases.to_vec();
    while !rest.is_empty() {
        let mut ended = Vec::new();
        let verdict = in_one_guest(ready, &rest, &mut |name, log, ending| {
            fs::write(logs.join(format!("{name}.log")), log)
                .context(|| format!("cannot write {name}.log to {}", logs.display()))?;
            if let Some(case) = rest.iter().find(|case| case.name == name) {
                ended.push(case.name.clone());
                tell(case, ending)?;
            }
            Ok(())
        })?;
        if ended.is_empty() {
            // Not even one began: another guest would fare no better.
            for case in rest {
                let failure = Some(format!("not run: {}", verdict.sentence()));
                tell(case, Ending { failure, seconds: 0.0, output: String::new() })?;
            }
            return Ok(());
        }
        rest.retain(|case| !ended.contains(&case.name));
    }
    Ok(())
}

type Tell<'a> = dyn FnMut(&str, &str, Ending) -> Result<(), Failure> + 'a;

fn in_one_guest(ready: &Ready, cases: &[&Case], tell: &mut Tell<'_>) -> Result<Verdict, Failure> {
    let place = Place::make(&ready.repo, false)?;
    let limit = cases.iter().map(|case| case.limit + AROUND).sum();
    let script = Script::locate(&ready.repo, &ready.repo.join(HAND).display().to_string())?;
    let mut spec = cases[0].shape.spec(limit);
    spec.script.clone_from(&script.in_guest);
    spec.args = cases.iter().map(|case| case.argument()).collect();
    let mut steps = Steps::start();
    steps.quiet();
    let machine = ready.boot(&place, &script, &spec, &mut steps)?;
    let mut reader = Reader::default();
    let verdict = follow::follow(
        machine,
        limit,
        None,
        None,
        |_, bytes| {
            reader.read(bytes).into_iter().try_for_each(|(name, log, ending)| tell(&name, &log, ending))
        },
        &mut steps,
    )?;
    if !matches!(verdict, Verdict::Ended(0)) {
        verdict.report(&place.console());
        if let Some((name, log, ending)) = reader.cut(verdict.sentence()) {
            tell(&name, &log, ending)?;
        }
    }
    Ok(verdict)
}

/// Takes the hand's stream apart into cases.
#[derive(Debug, Default)]
struct Reader {
    line: Vec<u8>,
    case: String,
    log: String,
    output: usize,
}

impl Reader {
    /// Takes bytes in, and gives the cases that have ended: name, all that was said, ending.
    fn read(&mut self, bytes: &[u8]) -> Vec<(String, String, Ending)> {
        let mut ended = Vec::new();
        for &byte in bytes {
            self.line.push(byte);
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                ended.extend(self.line(&line));
            }
        }
        ended
    }

    fn line(&mut self, line: &str) -> Option<(String, String, Ending)> {
        let Some(words) = line.strip_prefix(MARK) else {
            self.log += line;
            return None;
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        match words.as_slice() {
            ["begin", name] => {
                *self = Self { case: (*name).to_owned(), ..Self::default() };
                None
            }
            // What follows is for the log: the daemons' words, not the case's.
            ["evidence"] => {
                self.output = self.log.len();
                self.log += "--- evidence\n";
                None
            }
            ["end", milliseconds, why @ ..] => {
                let failure = (!why.is_empty()).then(|| why.join(" "));
                let seconds = milliseconds.parse::<f64>().unwrap_or_default() / 1000.0;
                Some(self.end(failure, seconds))
            }
            _ => None,
        }
    }

    /// The case that was under way when the stream ended.
    fn cut(&mut self, why: &str) -> Option<(String, String, Ending)> {
        (!self.case.is_empty()).then(|| self.end(Some(why.to_owned()), 0.0))
    }

    fn end(&mut self, failure: Option<String>, seconds: f64) -> (String, String, Ending) {
        let ended = std::mem::take(self);
        let said = if ended.output == 0 { ended.log.len() } else { ended.output };
        let output = ended.log[..said].to_owned();
        (ended.case, ended.log, Ending { failure, seconds, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_taken_apart_however_it_is_cut() {
        let stream = "\n\x1ebegin one\nhello\n\n\x1eend 1500\n\n\x1ebegin two\nno\n\x1eevidence\nsaid\n\
                      \x1eend 20 exit code 1\n\x1ebegin three\nhalf";
        for size in [1, 7, stream.len()] {
            let mut reader = Reader::default();
            let ended: Vec<_> = stream.as_bytes().chunks(size).flat_map(|bytes| reader.read(bytes)).collect();
            assert_eq!(ended.len(), 2);
            assert_eq!(ended[0].0, "one");
            assert_eq!(ended[0].2, Ending { failure: None, seconds: 1.5, output: "hello\n\n".into() });
            assert_eq!(ended[1].2.failure.as_deref(), Some("exit code 1"));
            assert_eq!(ended[1].2.output, "no\n");
            assert!(ended[1].1.contains("said"));
            let (name, _, ending) = reader.cut("the guest died").unwrap();
            assert_eq!((name.as_str(), ending.failure.as_deref()), ("three", Some("the guest died")));
            assert!(reader.cut("again").is_none());
        }
    }
}
