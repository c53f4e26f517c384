//! The benchmark's report, made from its data alone.

use std::collections::BTreeMap;

use lab_experiment::{Bench, Contender, Sessions, is_clean};

use super::goals::{self, Goal};
use super::summary::Spread;
use super::table::{of, table};
use super::timeline;
use crate::experiment::bench::{CONTENDERS, KINDS, Kind, ROUNDS};

pub fn kind_of((volumes, sessions, dead_half): Kind) -> String {
    let volumes = if volumes == 1 { "1 volume".to_owned() } else { format!("{volumes} volumes at once") };
    let sessions = match sessions {
        Sessions::New => "new sessions",
        Sessions::Existing => "existing sessions",
    };
    format!("{volumes}, {sessions}{}", if dead_half { ", half of the portals dead" } else { "" })
}

const INTRODUCTION: &str = "\
# The benchmark

How long volumes take to be attached and detached: by bowline, by os-brick 7.1.1 (in a process that lives on, without
its privilege-separation daemon), and by the floor. The *floor* is the work that nobody can do without, done by a driver
that decides nothing, verifies nothing and cleans nothing up, and uses none of bowline's code: it writes node records as files,
logs in to all portals at once, scans for each LUN once as soon as there is a session, and waits for udev and multipathd; back, it
flushes, removes the map, the disks, the sessions and the records, and does not wait for udev. Made by `make bench` from [experiment/bench.jsonl](experiment/bench.jsonl), a line for
each measurement.

All is timed from outside of whoever does the work: *usable* is the moment when every volume's map has its name, *all paths*
the moment when each map has a path over every portal that lives, *returned* when the last call has returned, which for bowline means
that the map was read from. *Detached* is when the last call has returned, *gone* the moment from which no session, disk, map or link of the volumes
is on the host and udev has nothing left to do, which not everybody waits for. Figures are medians, with least and most; a figure in × is the ratio to the floor in the same
round, within which all take turns in a shuffled order. LIO, one IQN behind four portals, `find_multipaths no`, Linux in
software emulation on two processors: seconds of such a guest are several times those of real hardware. *Processor* is the time that
the whole host's processors have worked until all of it was done, udev and the daemons included. *MiB at most* are those of the process that
does the work or, of bowline's command, of all that run at once, each with its helper. bowline's deadline is that of
the measurement (15 minutes), since floor and os-brick have none.

";

/// The figures of one contender for one kind of work.
struct Figures<'a> {
    /// How often it was tried.
    tried: usize,
    /// In how many something was left, but for lines in multipath's list of WWIDs.
    left: usize,
    /// Where all of it succeeded.
    lines: Vec<&'a Bench>,
    floor: BTreeMap<u32, &'a Bench>,
}

impl<'a> Figures<'a> {
    fn of(all: &'a [Bench], kind: Kind, contender: Contender) -> Self {
        let of = |contender: Contender| {
            all.iter().filter(move |line| {
                let wish = &line.wish;
                (wish.volumes, wish.sessions, wish.dead_half, wish.contender)
                    == (kind.0, kind.1, kind.2, contender)
            })
        };
        Self {
            tried: of(contender).count(),
            left: of(contender).filter(|line| !is_clean(&line.leftovers)).count(),
            lines: of(contender).filter(|line| succeeded(line)).collect(),
            floor: of(Contender::Floor)
                .filter(|line| succeeded(line))
                .map(|line| (line.wish.round, line))
                .collect(),
        }
    }

    /// Seconds, and the ratio to the floor of the same round.
    fn figure(&self, value: impl Fn(&Bench) -> Option<f64>) -> String {
        let seconds: Vec<f64> = self.lines.iter().filter_map(|line| value(line)).collect();
        let ratio = |line: &&Bench| Some(value(line)? / value(self.floor.get(&line.wish.round)?)?);
        let ratios: Vec<f64> = self.lines.iter().filter_map(ratio).collect();
        match (Spread::of(&seconds), Spread::of(&ratios)) {
            (None, _) => "–".to_owned(),
            (Some(seconds), None) => {
                format!("{:.2} s ({:.2}–{:.2})", seconds.median, seconds.min, seconds.max)
            }
            (Some(seconds), Some(ratio)) => format!(
                "{:.2} s ({:.2}–{:.2}), {:.2} × ({:.2}–{:.2})",
                seconds.median, seconds.min, seconds.max, ratio.median, ratio.min, ratio.max
            ),
        }
    }

    fn plain(&self, value: impl Fn(&Bench) -> Option<f64>) -> String {
        let values: Vec<f64> = self.lines.iter().filter_map(|line| value(line)).collect();
        Spread::of(&values).map_or_else(|| "–".to_owned(), |spread| format!("{:.0}", spread.median))
    }
}

fn succeeded(line: &Bench) -> bool {
    line.attach.ok() && line.detach.ok()
}

pub fn document(all: &[Bench]) -> String {
    let mut text = INTRODUCTION.to_owned();
    let headings = [
        "by",
        "succeeded",
        "usable",
        "all paths",
        "returned",
        "detached",
        "gone",
        "processor, attach",
        "processor, detach",
        "programs, attach and detach",
        "MiB at most",
        "left over",
    ];
    for kind in KINDS {
        let rows: Vec<Vec<String>> = CONTENDERS
            .into_iter()
            .filter_map(|contender| {
                let figures = Figures::of(all, kind, contender);
                (figures.tried > 0).then(|| row(contender, &figures))
            })
            .collect();
        if !rows.is_empty() {
            text += &format!("## {}\n\n{}\n", kind_of(kind), table(&headings, &rows));
        }
        text += &beside_os_brick(all, kind);
    }
    text += &goals::section(&aims(all));
    text += &timeline::section(all);
    text
}

fn row(contender: Contender, figures: &Figures<'_>) -> Vec<String> {
    let programs = |line: &Bench| {
        let count = line.attach.programs? + line.detach.programs?;
        Some(f64::from(u32::try_from(count).ok()?))
    };
    let memory = figures.lines.iter().filter_map(|line| line.attach.memory.max(line.detach.memory)).max();
    vec![
        contender.name(),
        format!("{}/{}", figures.lines.len(), figures.tried),
        figures.figure(|line| line.seen.all_maps),
        figures.figure(|line| line.seen.all_paths),
        figures.figure(|line| Some(line.attach.seconds)),
        figures.figure(|line| Some(line.detach.seconds)),
        figures.figure(|line| line.gone),
        figures.figure(|line| line.attach_processor),
        figures.figure(|line| line.detach_processor),
        figures.plain(programs),
        memory.map_or_else(|| "–".to_owned(), |kib| kib.div_ceil(1024).to_string()),
        of(figures.left, figures.tried),
    ]
}

/// How long bowline takes for each, in times of what os-brick takes in the same round.
fn beside_os_brick(all: &[Bench], kind: Kind) -> String {
    let figures: [(&str, Value); 4] =
        [("usable", USABLE), ("returned", RETURNED), ("detached", DETACHED), ("gone", GONE)];
    let ratios = figures.map(|(name, value)| {
        let ratios = ratios_of(all, (kind, Contender::Bowline), (kind, Contender::OsBrick), value);
        let spread = Spread::of(&ratios)?;
        Some(format!("{name} {:.2} × ({:.2}–{:.2})", spread.median, spread.min, spread.max))
    });
    let told: Vec<String> = ratios.into_iter().flatten().collect();
    if told.is_empty() {
        return String::new();
    }
    format!("bowline beside os-brick, in the same round: {}.\n\n", told.join(", "))
}

/// A figure of a measurement.
type Value = fn(&Bench) -> Option<f64>;
const USABLE: Value = |line| line.seen.all_maps;
const ALL_PATHS: Value = |line| line.seen.all_paths;
const RETURNED: Value = |line| Some(line.attach.seconds);
const DETACHED: Value = |line| Some(line.detach.seconds);
const GONE: Value = |line| line.gone;

/// What bowline shall reach.
fn aims(all: &[Bench]) -> Vec<Goal> {
    let one: Kind = (1, Sessions::New, false);
    let half_dead: Kind = (1, Sessions::New, true);
    let sixteen: Kind = (16, Sessions::New, false);
    let ours = |kind| (kind, Contender::Bowline);
    let aim = |aim, kind, to, most, value| ratio(all, aim, ours(kind), to, most, value);
    let floor = |text, kind, value| aim(text, kind, (kind, Contender::Floor), 1.3, value);
    let os_brick = |text, value| aim(text, one, (one, Contender::OsBrick), 1.0, value);
    let dead = |text, value| aim(text, half_dead, ours(one), 3.0, value);
    let memory =
        all.iter().filter(|line| (line.wish.contender, line.wish.volumes) == (Contender::Bowline, 1));
    let memory = memory.filter_map(|line| line.attach.memory.max(line.detach.memory)).max();
    let mib = memory.and_then(|kib| u32::try_from(kib).ok()).map(|kib| f64::from(kib) / 1024.0);
    vec![
        floor("until the map is usable: 1.3 × the floor", one, USABLE),
        floor("until all paths are in the map: 1.3 × the floor", one, ALL_PATHS),
        floor("until the attach has returned: 1.3 × the floor", one, RETURNED),
        os_brick("an attach returns sooner than os-brick's", RETURNED),
        floor("detach: 1.3 × the floor", one, DETACHED).because(DETACH),
        floor("detach, until all of it is gone: 1.3 × the floor", one, GONE).because(DETACH),
        os_brick("a detach returns sooner than os-brick's", DETACHED),
        floor("16 volumes at once, until all maps are usable: 1.3 × the floor", sixteen, USABLE),
        floor("16 volumes at once, until all paths are in the maps: 1.3 × the floor", sixteen, ALL_PATHS),
        floor("16 volumes at once, until all attaches have returned: 1.3 × the floor", sixteen, RETURNED),
        floor("16 volumes at once, detach: 1.3 × the floor", sixteen, DETACHED).because(DETACH),
        floor("16 volumes at once, detach, until all of it is gone: 1.3 × the floor", sixteen, GONE)
            .because(DETACH),
        dead("half of the portals dead, until the map is usable: 3 × the time without a fault", USABLE),
        dead(
            "half of the portals dead, until the attach has returned: 3 × the time without a fault",
            RETURNED,
        ),
        Goal::at_most("memory of the command, with its helper: 16 MiB", mib, 16.0, " MiB"),
    ]
}

/// Of the aim that a detach takes at most 1.3 times as long as the floor's.
const DETACH: &str = "the command does what the floor does not: it starts itself and its helper, writes down durably what it is about \
    to take apart, takes the identity off multipath's list, and looks at the host before and after; the library in a \
    process that lives on pays for less of it";

/// The aim that one contender's figure is at most so many times another's of the same round (the median of the ratios). A
/// measurement of his that failed, or in which it did not come to that, has missed it.
fn ratio(
    all: &[Bench],
    aim: &'static str,
    of: (Kind, Contender),
    to: (Kind, Contender),
    most: f64,
    value: Value,
) -> Goal {
    let ratios = ratios_of(all, of, to, value);
    let median = Spread::of(&ratios).map(|spread| spread.median);
    let figures = Figures::of(all, of.0, of.1);
    let came_to_it = figures.lines.iter().filter(|line| value(line).is_some()).count();
    Goal::at_most(aim, median, most, " ×")
        .missing((ROUNDS as usize).saturating_sub(ratios.len()))
        .failed(figures.tried - came_to_it)
}

/// One contender's figure in times of another's of the same round, of each round in which both came to it.
fn ratios_of(all: &[Bench], of: (Kind, Contender), to: (Kind, Contender), value: Value) -> Vec<f64> {
    let by_round = |(kind, contender)| -> BTreeMap<u32, f64> {
        let figures = Figures::of(all, kind, contender);
        figures.lines.iter().filter_map(|line| Some((line.wish.round, value(line)?))).collect()
    };
    let (ours, theirs) = (by_round(of), by_round(to));
    ours.iter().filter_map(|(round, value)| Some(value / theirs.get(round)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let line = |contender: &str, round: u32, seconds: f64| -> Bench {
            let step = format!(r#"{{"outcome":"ok","seconds":{seconds},"programs":3,"memory":2048}}"#);
            serde_json::from_str(&format!(
                r#"{{"volumes":1,"sessions":"new","dead_half":false,"contender":"{contender}","round":{round},
                "versions":{{"kernel":"","open_iscsi":"","multipath_tools":"","contender":""}},"attach":{step},
                "seen":{{"first_map":{seconds},"all_maps":{seconds},"all_paths":null}},"detach":{step},"leftovers":{{}}}}"#
            ))
            .unwrap()
        };
        let all =
            [line("floor", 0, 2.0), line("bowline", 0, 3.0), line("floor", 1, 4.0), line("bowline", 1, 4.0)];
        let figures = Figures::of(&all, KINDS[0], Contender::Bowline);
        assert_eq!(figures.figure(|line| line.seen.all_maps), "3.50 s (3.00–4.00), 1.25 × (1.00–1.50)");
        assert_eq!(figures.figure(|line| line.seen.all_paths), "–");
        assert!(document(&all).contains("| bowline | 2/2 |"));
    }
}
