//! `cargo xtask bench`: how fast volumes are attached and detached, beside os-brick and beside the floor, which is the
//! least that must be done; and what of it is spent where.

use std::fs;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use lab_experiment::{Bench, BenchWish, Contender, Outside, Sessions, Timed, Versions};
use lab_wire::{Backend, Context, Family, Spec, Target};
use sha2::{Digest, Sha256};

use super::guests::{Guests, Lost};
use super::recording::{Line, Recording};
use super::report::bench::{document, kind_of};
use super::store::{self, Appending, Store};
use crate::lab::{Stop, repository, told};

/// What is measured
#[derive(clap::Args)]
pub struct BenchArgs {
    /// So many rounds; within one, all take turns in an order that the seed decides
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: u32,
    /// Only with so many volumes at once
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    volumes: Vec<u16>,
    /// Only these contenders
    #[arg(long, value_enum, value_name = "CONTENDERS", value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// The order follows from this [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Make the report from the data that is there, and measure nothing
    #[arg(long)]
    report: bool,
}

/// Below the repository.
const REPORT: &str = "docs/benchmark.md";

/// So many rounds are judged.
pub const ROUNDS: u32 = 3;
/// Volumes at once, whether the sessions are there, whether half of the portals is dead.
pub type Kind = (u16, Sessions, bool);
pub const KINDS: [Kind; 10] = [
    (1, Sessions::New, false),
    (1, Sessions::Existing, false),
    (4, Sessions::New, false),
    (4, Sessions::Existing, false),
    (16, Sessions::New, false),
    (16, Sessions::Existing, false),
    (32, Sessions::New, false),
    (32, Sessions::Existing, false),
    (1, Sessions::New, true),
    (4, Sessions::New, true),
];
pub const CONTENDERS: [Contender; 4] =
    [Contender::Floor, Contender::Bowline, Contender::BowlineLibrary, Contender::OsBrick];
/// The most volumes at once, and the one that keeps the sessions.
const VOLUMES: u16 = 33;

/// Measures, and makes the report; 0 unless the laboratory itself failed.
pub fn main(args: &BenchArgs) -> ExitCode {
    told(run(args))
}

fn run(args: &BenchArgs) -> Result<u8, Stop> {
    let store: Store<Bench> = Store::open(store::BENCH)?;
    let store = if args.report { store } else { measure(args, store.appending()?)? };
    let file = repository().join(REPORT);
    fs::write(&file, document(store.lines())).context(|| format!("cannot write {}", file.display()))?;
    println!("bench: the report of {} measurements is in {REPORT}", store.lines().len());
    Ok(0)
}

fn measure(args: &BenchArgs, store: Appending<Bench>) -> Result<Store<Bench>, Stop> {
    let seed = args.seed.unwrap_or_else(store::now);
    let first = store.lines().iter().map(|line| line.wish.round + 1).max().unwrap_or_default();
    let wishes = wishes(args, first, seed);
    println!("bench: {} measurements; --seed {seed}", wishes.len());
    let guests = Guests::ready("bench")?;
    let recording = Recording::new(wishes.len(), NonZeroUsize::MIN, store);
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
    for together in
        wishes.chunk_by(|one, next| (one.round, kept_together(one)) == (next.round, kept_together(next)))
    {
        guests.fulfil(&shape, together.to_vec(), &recording)?;
    }
    Ok(recording.done()?)
}

/// Measurements that are compared with each other share a guest, and no hour lies between them: those of so many volumes, with all
/// portals and with half of them, by everybody.
fn kept_together(wish: &BenchWish) -> (u16, Sessions) {
    (wish.volumes, wish.sessions)
}

impl Line for Bench {
    type Wish = BenchWish;

    fn wish(&self) -> &BenchWish {
        &self.wish
    }

    fn outside(&mut self) -> &mut Outside {
        &mut self.outside
    }

    /// What hung or killed its guest is a measurement that failed, and none that there never was.
    fn lost(lost: Lost<BenchWish>) -> Self {
        let step = lost.step();
        Self {
            wish: lost.wish,
            outside: Outside::default(),
            versions: Versions::default(),
            attach: step.clone(),
            attach_processor: None,
            seen: Timed::default(),
            events: Vec::new(),
            detach: step,
            detach_events: Vec::new(),
            gone: None,
            detach_processor: None,
            keeper_detach: None,
            leftovers: Lost::<BenchWish>::left(),
            not_cleaned: None,
        }
    }

    fn told(&self) -> String {
        line_of(self)
    }
}

/// Round after round, each shuffled. The floor waits for every login, so it has no place where portals are dead.
fn wishes(args: &BenchArgs, first: u32, seed: u64) -> Vec<BenchWish> {
    let mut all = Vec::new();
    for round in first..first + args.rounds {
        let mut wishes: Vec<BenchWish> = KINDS
            .into_iter()
            .filter(|(volumes, ..)| args.volumes.is_empty() || args.volumes.contains(volumes))
            .flat_map(|(volumes, sessions, dead_half)| {
                let contenders = CONTENDERS
                    .into_iter()
                    .filter(|who| args.contenders.is_empty() || args.contenders.contains(who))
                    .filter(move |who| !dead_half || *who != Contender::Floor);
                contenders.map(move |contender| BenchWish { volumes, sessions, dead_half, contender, round })
            })
            .collect();
        let mixed = |text: String| Sha256::digest(format!("{seed} {round} {text}")).to_vec();
        wishes.sort_by_cached_key(|wish| {
            let together = format!("{:?}", kept_together(wish));
            (mixed(together.clone()), mixed(format!("{together} {:?}", wish.contender)), wish.dead_half)
        });
        all.extend(wishes);
    }
    all
}

fn line_of(seen: &Bench) -> String {
    let wish = &seen.wish;
    let moment = |at: Option<f64>| at.map_or_else(|| "never".to_owned(), |at| format!("{at:.1} s"));
    format!(
        "{} {}: usable {}, all paths {}, returned {:.1} s {}; detached {:.1} s, gone {}{}",
        wish.contender.name(),
        kind_of((wish.volumes, wish.sessions, wish.dead_half)),
        moment(seen.seen.all_maps),
        moment(seen.seen.all_paths),
        seen.attach.seconds,
        seen.attach.error.as_deref().unwrap_or(""),
        seen.detach.seconds,
        moment(seen.gone),
        seen.detach.error.as_deref().map(|error| format!(" {error}")).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(rounds: u32) -> BenchArgs {
        BenchArgs { rounds, volumes: vec![], contenders: vec![], seed: None, report: false }
    }

    #[test]
    fn within_a_round_all_take_turns_and_no_round_is_measured_twice() {
        let all = wishes(&args(2), 3, 7);
        assert_eq!(all.len(), 2 * (8 * 4 + 2 * 3));
        assert!(all[..38].iter().all(|wish| wish.round == 3) && all[38..].iter().all(|wish| wish.round == 4));
        assert!(all.iter().all(|wish| wish.volumes < VOLUMES));
        let together: Vec<_> =
            all[..38].chunk_by(|one, next| kept_together(one) == kept_together(next)).collect();
        assert_eq!(together.len(), 8, "what is compared is measured together");
        assert_eq!(all, wishes(&args(2), 3, 7));
        assert_ne!(all, wishes(&args(2), 3, 8));
    }
}
