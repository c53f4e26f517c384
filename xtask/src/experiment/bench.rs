//! `cargo xtask bench`: how fast volumes are attached and detached, beside os-brick and beside the floor, which is the
//! least that must be done; and what of it is spent where.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;

use lab_experiment::{Bench, BenchWish, Contender, Sessions};
use lab_wire::{Backend, Context, Failure, Family, Spec, Target};
use sha2::{Digest, Sha256};

use super::guests::Guests;
use super::report::summary::Spread;
use super::report::table::table;
use super::store::{self, Store};
use crate::lab::{Stop, repository, told};

/// What is measured
#[derive(clap::Args)]
pub struct BenchArgs {
    /// So many rounds; within one, all take turns in an order that the seed decides
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: u32,
    /// Only with so many volumes at once
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    volumes: Vec<u16>,
    /// The order follows from this [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Make the report from the data that is there, and measure nothing
    #[arg(long)]
    report: bool,
}

/// Below the repository.
const REPORT: &str = "docs/benchmark.md";

/// Volumes at once, whether the sessions are there, whether half of the portals is dead.
type Kind = (u16, Sessions, bool);
const KINDS: [Kind; 8] = [
    (1, Sessions::New, false),
    (1, Sessions::Existing, false),
    (4, Sessions::New, false),
    (16, Sessions::New, false),
    (16, Sessions::Existing, false),
    (32, Sessions::New, false),
    (1, Sessions::New, true),
    (4, Sessions::New, true),
];
const CONTENDERS: [Contender; 4] =
    [Contender::Floor, Contender::Bowline, Contender::BowlineLibrary, Contender::OsBrick];
/// The most volumes at once, and the one that keeps the sessions.
const VOLUMES: u16 = 33;

/// Measures, and makes the report; 0 unless the laboratory itself failed.
pub fn main(args: &BenchArgs) -> ExitCode {
    told(run(args))
}

fn run(args: &BenchArgs) -> Result<u8, Stop> {
    let store: Store<Bench> = Store::open(store::BENCH)?;
    let store = if args.report { store } else { measure(args, store)? };
    let file = repository().join(REPORT);
    fs::write(&file, document(store.lines())).context(|| format!("cannot write {}", file.display()))?;
    println!("bench: the report of {} measurements is in {REPORT}", store.lines().len());
    Ok(0)
}

fn measure(args: &BenchArgs, store: Store<Bench>) -> Result<Store<Bench>, Stop> {
    let seed = args.seed.unwrap_or_else(store::now);
    let first = store.lines().iter().map(|line| line.wish.round + 1).max().unwrap_or_default();
    let wishes = wishes(args, first, seed);
    let total = wishes.len();
    println!("bench: {total} measurements; --seed {seed}");
    let guests = Guests::ready("bench")?;
    let commit = store::commit();
    let store = Mutex::new((0, store));
    let poisoned = || Failure::new("a guest's follower panicked");
    let take = |line: &[u8]| {
        let seen: Bench = serde_json::from_slice(line).context(|| {
            format!("the guest said what is no measurement: {}", String::from_utf8_lossy(line))
        })?;
        let seen = Bench { ended: store::now(), commit: commit.clone(), ..seen };
        let wish = seen.wish.clone();
        let (count, store) = &mut *store.lock().map_err(|_| poisoned())?;
        *count += 1;
        println!("[{count:3}/{total}] {}", line_of(&seen));
        store.add(seen)?;
        Ok(wish)
    };
    let shape = Spec {
        target: Target::Lio,
        family: Family::Ipv4,
        portals: 4,
        volumes: VOLUMES,
        backend: Backend::OneIqn,
        script: String::new(),
        args: Vec::new(),
        collect: false,
        timeout: 0,
    };
    guests.fulfil(&shape, wishes, &take)?;
    let (_, store) = store.into_inner().map_err(|_| poisoned())?;
    Ok(store)
}

/// Round after round, each shuffled. The floor waits for every login, so it has no place where portals are dead.
fn wishes(args: &BenchArgs, first: u32, seed: u64) -> Vec<BenchWish> {
    let mut all = Vec::new();
    for round in first..first + args.rounds {
        let mut wishes: Vec<BenchWish> = KINDS
            .into_iter()
            .filter(|(volumes, ..)| args.volumes.is_empty() || args.volumes.contains(volumes))
            .flat_map(|(volumes, sessions, dead_half)| {
                let contenders =
                    CONTENDERS.into_iter().filter(move |who| !dead_half || *who != Contender::Floor);
                contenders.map(move |contender| BenchWish { volumes, sessions, dead_half, contender, round })
            })
            .collect();
        wishes.sort_by_cached_key(|wish| Sha256::digest(format!("{seed} {wish:?}")).to_vec());
        all.extend(wishes);
    }
    all
}

fn line_of(seen: &Bench) -> String {
    let wish = &seen.wish;
    let moment = |at: Option<f64>| at.map_or_else(|| "never".to_owned(), |at| format!("{at:.1} s"));
    format!(
        "{} {}: usable {}, all paths {}, returned {:.1} s {}; detached {:.1} s{}",
        wish.contender.name(),
        kind_of((wish.volumes, wish.sessions, wish.dead_half)),
        moment(seen.seen.all_maps),
        moment(seen.seen.all_paths),
        seen.attach.seconds,
        seen.attach.error.as_deref().unwrap_or(""),
        seen.detach.seconds,
        seen.detach.error.as_deref().map(|error| format!(" {error}")).unwrap_or_default(),
    )
}

fn kind_of((volumes, sessions, dead_half): Kind) -> String {
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
logs in to all portals at once, scans for each LUN once, and waits for udev and multipathd; back, it flushes, removes the map,
the disks, the sessions and the records. Made by `make bench` from [experiment/bench.jsonl](experiment/bench.jsonl), a line for
each measurement.

All is timed from outside of whoever does the work: *usable* is the moment when every volume's map can be opened by its name, *all paths*
the moment when each map has a path over every portal that lives, *returned* when the last call has returned, which for bowline means
that the map was read from. Figures are medians, with least and most; a figure in × is the ratio to the floor in the same
round, within which all take turns in a shuffled order. LIO, one IQN behind four portals, `find_multipaths no`, Linux in
software emulation on two processors: seconds of such a guest are several times those of real hardware.

";

/// The figures of one contender for one kind of work.
struct Figures<'a> {
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
        let lines = of(contender).filter(|line| line.attach.ok() && line.detach.ok()).collect();
        Self { lines, floor: of(Contender::Floor).map(|line| (line.wish.round, line)).collect() }
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

fn document(all: &[Bench]) -> String {
    let mut text = INTRODUCTION.to_owned();
    let headings = [
        "by",
        "succeeded",
        "usable",
        "all paths",
        "returned",
        "detached",
        "programs, attach and detach",
        "MiB at most",
    ];
    for kind in KINDS {
        let rows: Vec<Vec<String>> = CONTENDERS
            .into_iter()
            .filter_map(|contender| {
                let tried = all.iter().filter(|line| {
                    let wish = &line.wish;
                    (wish.volumes, wish.sessions, wish.dead_half, wish.contender)
                        == (kind.0, kind.1, kind.2, contender)
                });
                let tried = tried.count();
                let figures = Figures::of(all, kind, contender);
                (tried > 0).then(|| row(contender, tried, &figures))
            })
            .collect();
        if !rows.is_empty() {
            text += &format!("## {}\n\n{}\n", kind_of(kind), table(&headings, &rows));
        }
    }
    text += &udevs_share(all);
    text += &timeline(all);
    text
}

fn row(contender: Contender, tried: usize, figures: &Figures<'_>) -> Vec<String> {
    let programs = |line: &Bench| {
        let count = line.attach.programs? + line.detach.programs?;
        Some(f64::from(u32::try_from(count).ok()?))
    };
    let memory = figures.lines.iter().filter_map(|line| line.attach.memory.max(line.detach.memory)).max();
    vec![
        contender.name(),
        format!("{}/{tried}", figures.lines.len()),
        figures.figure(|line| line.seen.all_maps),
        figures.figure(|line| line.seen.all_paths),
        figures.figure(|line| Some(line.attach.seconds)),
        figures.figure(|line| Some(line.detach.seconds)),
        figures.plain(programs),
        memory.map_or_else(|| "–".to_owned(), |kib| kib.div_ceil(1024).to_string()),
    ]
}

/// Of the floor, what passes between the last disk and the map.
fn udevs_share(all: &[Bench]) -> String {
    let shares: Vec<f64> = all
        .iter()
        .filter(|line| line.wish.contender == Contender::Floor && line.wish.volumes == 1)
        .filter(|line| line.wish.sessions == Sessions::New)
        .filter_map(|line| {
            let at = |name: &str| line.events.iter().find(|event| event["event"] == name)?["at"].as_f64();
            let (disks, maps) = (at("disks")?, at("maps")?);
            Some(100.0 * (maps - disks) / maps)
        })
        .collect();
    match Spread::of(&shares) {
        None => String::new(),
        Some(share) => format!(
            "## What of the floor is udev's\n\nFor one volume over new sessions {:.0} % ({:.0}–{:.0}) of the floor's time passes between the \
             last disk and the usable map: the rules of udev for each disk, multipathd, and udev's rules for the map.\n\n",
            share.median, share.min, share.max
        ),
    }
}

/// Of bowline's own attaches of one volume, when each step of each path was over.
fn timeline(all: &[Bench]) -> String {
    let ours: Vec<&Bench> = all
        .iter()
        .filter(|line| line.wish.contender == Contender::Bowline && line.wish.volumes == 1)
        .filter(|line| line.wish.sessions == Sessions::New && !line.wish.dead_half && line.attach.ok())
        .collect();
    let Some(last) = ours.last() else { return String::new() };
    let rows: Vec<Vec<String>> = last
        .events
        .iter()
        .map(|event| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let at = event["at"].as_f64().unwrap_or_default();
            vec![
                format!("{at:.2}"),
                text(&event["endpoint"]["portal"]),
                text(&event["event"]).replace('_', " "),
            ]
        })
        .collect();
    format!(
        "## Where bowline's own time goes\n\nThe last measured attach of one volume over new sessions, from its events.\n\n{}",
        table(&["at, s", "path", "what"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(rounds: u32) -> BenchArgs {
        BenchArgs { rounds, volumes: vec![], seed: None, report: false }
    }

    #[test]
    fn within_a_round_all_take_turns_and_no_round_is_measured_twice() {
        let all = wishes(&args(2), 3, 7);
        assert_eq!(all.len(), 2 * (6 * 4 + 2 * 3));
        assert!(all[..30].iter().all(|wish| wish.round == 3) && all[30..].iter().all(|wish| wish.round == 4));
        assert!(all.iter().all(|wish| wish.volumes < VOLUMES));
        assert_eq!(all, wishes(&args(2), 3, 7));
        assert_ne!(all, wishes(&args(2), 3, 8));
    }

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
