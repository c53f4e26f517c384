//! The benchmark's report, made from its data alone.

use std::collections::{BTreeMap, BTreeSet};

use lab_experiment::{Bench, Contender, Sessions, is_clean};

use super::goals::{self, Goal};
use super::provenance::hosts;
use super::summary::{Spread, as_f64};
use super::table::{fine, of, table};
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

const INTRODUCTION: &str = include_str!("benchmark.md");
const CANNOT_SAY: &str = include_str!("bench_cannot_say.md");

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
        let told =
            [(seconds.as_slice(), " s"), (ratios.as_slice(), " ×")].map(|(values, unit)| fine(values, unit));
        let told: Vec<String> = told.into_iter().flatten().collect();
        match (told.is_empty(), seconds.len() == self.lines.len()) {
            (true, _) => "never".to_owned(),
            (_, true) => told.join(", "),
            (_, false) => format!("{}, in {}", told.join(", "), of(seconds.len(), self.lines.len())),
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

const HEADINGS: [&str; 12] = [
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

pub fn document(all: &[Bench]) -> String {
    let mut text = INTRODUCTION.to_owned();
    for kind in KINDS {
        let rows: Vec<Vec<String>> = CONTENDERS
            .into_iter()
            .filter_map(|contender| {
                let figures = Figures::of(all, kind, contender);
                (figures.tried > 0).then(|| row(contender, &figures))
            })
            .collect();
        text += &match rows.is_empty() {
            true => format!("## {}\n\nNot measured yet.\n\n", kind_of(kind)),
            false => format!("## {}\n\n{}\n", kind_of(kind), table(&HEADINGS, &rows)),
        };
        text += &beside_os_brick(all, kind);
        text += &first_of_several(all, kind);
    }
    text += &goals::section(&aims(all));
    text += &timeline::section(all);
    text + &what_was_measured(all)
}

/// Of which commit, and on what.
fn what_was_measured(all: &[Bench]) -> String {
    let commits: BTreeSet<&str> = all.iter().map(|line| line.outside.commit.as_str()).collect();
    let of = |who: &Contender| {
        let count = all.iter().filter(|line| line.wish.contender == *who).count();
        format!("{count} of {}", who.name())
    };
    let begun_anew: usize = all.iter().map(|line| line.outside.abandoned).sum();
    format!(
        "\n## What was measured\n\n{} measurements ({}), with bowline at {}, on {}. Begun anew, after the measurement itself had failed: {begun_anew}.\n\n{CANNOT_SAY}",
        all.len(),
        CONTENDERS.iter().map(of).collect::<Vec<_>>().join(", "),
        commits.into_iter().collect::<Vec<_>>().join(", "),
        hosts(all.iter().map(|line| &line.versions))
    )
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
        Some(format!("{name} {}", fine(&ratios, " ×")?))
    });
    let told: Vec<String> = ratios.into_iter().flatten().collect();
    if told.is_empty() {
        return String::new();
    }
    format!("bowline beside os-brick, in the same round: {}.\n\n", told.join(", "))
}

/// When the first of several maps could be used: who takes one volume after the other has it soonest, and the last one latest.
fn first_of_several(all: &[Bench], kind: Kind) -> String {
    let first = |contender: Contender| {
        let figures = Figures::of(all, kind, contender);
        let told = figures.figure(|line| line.seen.first_map);
        (!figures.lines.is_empty()).then(|| format!("{} {told}", contender.name()))
    };
    let told: Vec<String> = CONTENDERS.into_iter().filter_map(first).collect();
    match kind.0 > 1 && !told.is_empty() {
        true => format!("The first of the maps was usable after: {}.\n\n", told.join("; ")),
        false => String::new(),
    }
}

/// A figure of a measurement.
type Value = fn(&Bench) -> Option<f64>;
const USABLE: Value = |line| line.seen.all_maps;
const ALL_PATHS: Value = |line| line.seen.all_paths;
const RETURNED: Value = |line| Some(line.attach.seconds);
const DETACHED: Value = |line| Some(line.detach.seconds);
const GONE: Value = |line| line.gone;

/// What bowline shall reach: the command and the library, each for itself.
fn aims(all: &[Bench]) -> Vec<Goal> {
    let (one, sixteen): (Kind, Kind) = ((1, Sessions::New, false), (16, Sessions::New, false));
    let half_dead: Kind = (1, Sessions::New, true);
    let mut aims = Vec::new();
    for (who, name) in [(Contender::Bowline, "command"), (Contender::BowlineLibrary, "library")] {
        let beside = |text: String, kind, to, most, value| {
            ratio(all, format!("{name}: {text}"), (kind, who), to, most, value)
        };
        for (kind, volumes) in [(one, "1 volume"), (sixteen, "16 volumes at once")] {
            let floor = |text: &str, value| {
                beside(
                    format!("{volumes}, {text}: 1.3 × the floor"),
                    kind,
                    (kind, Contender::Floor),
                    1.3,
                    value,
                )
            };
            let starts = if (kind, who) == (one, Contender::Bowline) { STARTS } else { "" };
            aims.push(floor("until all maps are usable", USABLE).because(starts));
            aims.push(floor("until all paths are in the maps", ALL_PATHS).because(starts));
            aims.push(floor("until all attaches have returned", RETURNED).because(starts));
            aims.push(floor("detach", DETACHED).because(DETACH));
            aims.push(floor("detach, until all of it is gone", GONE).because(DETACH));
        }
        let existing: [(Kind, &str); 2] = [
            ((1, Sessions::Existing, false), "1 volume"),
            ((16, Sessions::Existing, false), "16 volumes at once"),
        ];
        for (kind, volumes) in existing {
            let floor = |text: &str, value| {
                let text = format!("{volumes}, existing sessions, {text}: 1.3 × the floor");
                beside(text, kind, (kind, Contender::Floor), 1.3, value)
            };
            aims.push(floor("until all maps are usable", USABLE));
            aims.push(floor("until all attaches have returned", RETURNED));
            aims.push(floor("detach", DETACHED).because(DETACH_OF_EXISTING));
        }
        for (kind, state) in [(one, ""), (half_dead, ", half of the portals dead")] {
            let os_brick = |text: &str, value| {
                beside(
                    format!("{text} sooner than os-brick's{state}"),
                    kind,
                    (kind, Contender::OsBrick),
                    1.0,
                    value,
                )
            };
            aims.push(os_brick("an attach returns", RETURNED));
            aims.push(os_brick("a detach returns", DETACHED).because(WAITS_FOR_LOGIN));
        }
        let dead = |text: &str, value| {
            let text = format!("half of the portals dead, until {text}: 3 × the time without a fault");
            beside(text, half_dead, (one, who), 3.0, value)
        };
        aims.push(dead("the map is usable", USABLE));
        aims.push(dead("the attach has returned", RETURNED));
    }
    let of_one = |line: &&Bench| (line.wish.contender, line.wish.volumes) == (Contender::Bowline, 1);
    let memory: Vec<u64> =
        all.iter().filter(of_one).filter_map(|line| line.attach.memory.max(line.detach.memory)).collect();
    let mib = memory.iter().max().map(|kib| as_f64(*kib) / 1024.0);
    aims.push(Goal::at_most(
        "memory of the command for a volume, with its helper: 16 MiB",
        mib,
        16.0,
        " MiB",
    ));
    aims
}

/// Of the aim that an attach of one volume by the command takes at most 1.3 times as long as the floor's.
const STARTS: &str = "the same engine in a process that lives on does it in about the floor's time (below, *library*). A command that finds nothing to do takes some \
    0.1 s, the start of itself and of its helper (findings.md, *Half as many looks make a detach a twelfth faster*); what else it takes longer by has \
    not been taken apart";

/// Of the aim that a detach takes at most 1.3 times as long as the floor's.
const DETACH: &str = "bowline does what the floor does not: it writes down durably what it is about to take apart, looks at the host before \
    and after each step, removes records under open-iscsi's lock, and takes the identity off multipath's list; the command starts \
    itself and its helper, too";

/// Of the same where the sessions stay.
const DETACH_OF_EXISTING: &str = "the same, and the floor is next to nothing here: no logout, so a flush, a map and its disks are all that goes";

/// Of the aim that a detach with dead portals returns sooner than os-brick's.
const WAITS_FOR_LOGIN: &str = "all is gone after half a second; then bowline waits for the login that its finisher had under way at a dead portal, since \
    iscsid cannot be told to give one up, and a session that came up after the detach would be nobody's. os-brick has no finisher: it has waited for \
    its logins in the attach";

/// The aim that one contender's figure is at most so many times another's of the same round (the median of the ratios). A
/// measurement of his that failed, or in which it did not come to that, has missed it.
fn ratio(
    all: &[Bench],
    aim: String,
    of: (Kind, Contender),
    to: (Kind, Contender),
    most: f64,
    value: Value,
) -> Goal {
    let ratios = ratios_of(all, of, to, value);
    let figures = Figures::of(all, of.0, of.1);
    let came_to_it = figures.lines.iter().filter(|line| value(line).is_some()).count();
    Goal::median_at_most(aim, &ratios, most, " ×")
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
        assert_eq!(figures.figure(|line| line.seen.all_paths), "never");
        let once = |line: &Bench| (line.wish.round == 1).then_some(4.0);
        assert_eq!(figures.figure(once), "4.00 s, 1.00 ×, in 1/2");
        assert!(document(&all).contains("| bowline | 2/2 |"));
    }
}
