//! Many scenarios, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bowline_sim::drive::play;
use bowline_sim::faults::Mark;
use bowline_sim::scenario::Scenario;
use bowline_sim::shrink::shortest;

use crate::Args;

/// Seeds of the marks that are met most rarely: with them a short run can be asked to meet every mark (`--cover`). Where one is
/// met no more, a long run says which seed meets it (`cargo xtask sim --runs 100000`, "met last").
const RARE: &[u64] = &[15_499, 36_851, 10_321_073, 13_033_171, 14_103_907, 42_152_543_013_850];

/// How many of the marks that were met last are told.
const TOLD: usize = 5;

/// After so many failures it stops; of each sort one is shrunk and told.
const MOST_FAILURES: usize = 60;

/// Where nobody watches, progress is told this often.
const IN_A_LOG: Duration = Duration::from_secs(30);

struct Campaign {
    /// Seeds that come before all others.
    rare: Mutex<Vec<u64>>,
    next: AtomicU64,
    also: u64,
    also_from: u64,
    end: u64,
    until: Option<Instant>,
    done: AtomicU64,
    stop: AtomicBool,
    marks: Mutex<BTreeMap<Mark, u64>>,
    failures: Mutex<BTreeMap<u64, Vec<String>>>,
}

/// 0 when nothing was wrong, and everything was met where that is asked for.
pub fn main(args: &Args) -> ExitCode {
    let first = args.seed.unwrap_or(1);
    let began = Instant::now();
    let campaign = Campaign {
        rare: Mutex::new(if args.cover { RARE.to_vec() } else { Vec::new() }),
        next: AtomicU64::new(first),
        // Seeds of another region as well, one in twenty: those of a commit are nobody's choice.
        also: args.also.unwrap_or(0),
        also_from: args.also.map_or(u64::MAX, |_| first + args.runs.unwrap_or(10_000) * 19 / 20),
        end: args.minutes.map_or(first + args.runs.unwrap_or(10_000), |_| u64::MAX),
        until: args.minutes.map(|minutes| began + Duration::from_secs_f64(minutes * 60.0)),
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        marks: Mutex::default(),
        failures: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs.get()).map(|_| scope.spawn(|| campaign.work())).collect();
        let terminal = std::io::stderr().is_terminal();
        let mut told = began;
        while !workers.iter().all(|worker| worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(500));
            if terminal || told.elapsed() >= IN_A_LOG {
                told = Instant::now();
                campaign.tell(began, terminal);
            }
        }
    });
    campaign.conclude(args, first, began)
}

impl Campaign {
    fn work(&self) {
        let mut marks: BTreeMap<Mark, u64> = BTreeMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            let Some(seed) = self.next_seed() else { break };
            let verdict = play(&Scenario::of(seed), false);
            self.done.fetch_add(1, Ordering::Relaxed);
            for mark in verdict.marks {
                marks.entry(mark).or_insert(seed);
            }
            if let Some(wrong) = verdict.wrongs.first() {
                eprintln!("\nwrong with seed {seed}: {wrong}");
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.insert(seed, verdict.wrongs);
                if failures.len() >= MOST_FAILURES {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        let mut all = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        for (mark, seed) in marks {
            let first = all.entry(mark).or_insert(seed);
            *first = seed.min(*first);
        }
    }

    fn next_seed(&self) -> Option<u64> {
        if let Some(rare) = self.rare.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Some(rare);
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        match seed >= self.end || self.until.is_some_and(|until| Instant::now() >= until) {
            true => None,
            false if seed >= self.also_from => Some(self.also.wrapping_add(seed)),
            false => Some(seed),
        }
    }

    fn tell(&self, began: Instant, terminal: bool) {
        let done = self.done.load(Ordering::Relaxed);
        let seconds = began.elapsed().as_secs_f64();
        let failed = self.failures.lock().unwrap_or_else(PoisonError::into_inner).len();
        let (before, after) = if terminal { ("\r", " ") } else { ("", "\n") };
        eprint!(
            "{before}{done} scenarios in {seconds:.0} s, {:.0} a minute, {failed} failed{after}",
            done as f64 / seconds * 60.0
        );
    }

    fn conclude(self, args: &Args, first: u64, began: Instant) -> ExitCode {
        let done = self.done.load(Ordering::Relaxed);
        let seconds = began.elapsed().as_secs_f64();
        let failures = self.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        eprintln!();
        println!(
            "{done} scenarios from seed {first} in {seconds:.1} s: {:.0} a minute, {} failed",
            done as f64 / seconds * 60.0,
            failures.len()
        );
        let mut sorts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (seed, wrongs) in &failures {
            sorts.entry(sort_of(wrongs)).or_default().push(*seed);
        }
        for (sort, seeds) in &sorts {
            println!("\n{} times, {sort}…: {seeds:?}", seeds.len());
            if let Some((seed, wrongs)) = seeds.first().and_then(|seed| failures.get_key_value(seed)) {
                report(*seed, wrongs);
            }
        }
        let marks = self.marks.into_inner().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<Mark> = Mark::all().into_iter().filter(|mark| !marks.contains_key(mark)).collect();
        println!("{} of {} marks met", Mark::all().len() - missing.len(), Mark::all().len());
        let mut by_seed: Vec<_> = marks.iter().map(|(mark, seed)| (seed, mark)).collect();
        by_seed.sort_unstable_by(|a, b| b.cmp(a));
        let last = by_seed.iter().take(TOLD).map(|(seed, mark)| format!("{mark:?} with seed {seed}"));
        println!("met last: {}", last.collect::<Vec<_>>().join(", "));
        if !missing.is_empty() {
            println!("not met: {missing:?}");
        }
        match failures.is_empty() && (missing.is_empty() || !args.cover) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

/// What failures have in common: the beginning of what is wrong, without its numbers.
fn sort_of(wrongs: &[String]) -> String {
    let first = wrongs.first().map(String::as_str).unwrap_or_default();
    first.chars().filter(|c| !c.is_ascii_digit()).take(50).collect()
}

/// A failure: what is wrong, and the shortest scenario in which it still is.
fn report(seed: u64, wrongs: &[String]) {
    let scenario = Scenario::of(seed);
    let left_out: BTreeSet<usize> = shortest(&scenario);
    let shrunk = scenario.without(&left_out);
    println!("\nWRONG with seed {seed}: {}", wrongs.join("\n    "));
    print!("{shrunk}");
    for wrong in play(&shrunk, false).wrongs {
        println!("  wrong: {wrong}");
    }
    let parts: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    match parts.is_empty() {
        true => println!("  again:  cargo xtask sim --seed {seed}"),
        false => println!("  again:  cargo xtask sim --seed {seed} --without {}", parts.join(",")),
    }
}
