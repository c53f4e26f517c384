//! Running what is missing: dealt out to guests in an order that a seed decides, several guests side by side. Each run
//! is on disk as soon as it is over, so a campaign may be interrupted at any time.

use std::num::NonZeroUsize;

use lab_experiment::{Cell, Contender, Outside, Run, Versions, Wish};
use lab_wire::{Family, Spec};
use sha2::{Digest, Sha256};

use super::guests::{Guests, Lost, PER_GUEST};
use super::matrix::Missing;
use super::recording::{Line, Recording};
use super::store::{Appending, Store};
use crate::lab::{Stop, side_by_side};

/// Runs them all, and returns the store with what was seen.
pub fn run(
    missing: Vec<Missing>,
    seed: u64,
    jobs: NonZeroUsize,
    store: Appending<Run>,
) -> Result<Store<Run>, Stop> {
    println!("experiment: {} runs are missing; --seed {seed}", missing.len());
    let guests = Guests::ready("run")?;
    let recording = Recording::new(missing.len(), jobs, store);
    side_by_side(batches(shuffled(missing, seed)), jobs.get(), |batch| {
        guests.fulfil(&shape(batch[0].cell), batch, &recording)
    })?;
    Ok(recording.done()?)
}

impl Line for Run {
    type Wish = Wish;

    fn wish(&self) -> &Wish {
        &self.wish
    }

    fn outside(&mut self) -> &mut Outside {
        &mut self.outside
    }

    /// Nothing was attached, and the guest is what was left.
    fn lost(lost: Lost<Wish>) -> Self {
        Self {
            attach: lost.step(),
            wish: lost.wish,
            outside: Outside::default(),
            versions: Versions::default(),
            cut_off: None,
            struck: None,
            handed_out: None,
            data: None,
            detach: None,
            leftovers: Lost::<Wish>::left(),
            retry: None,
            after_healing: None,
            not_cleaned: None,
        }
    }

    fn told(&self) -> String {
        line_of(self)
    }
}

/// A run as a person reads it while it goes on.
fn line_of(run: &Run) -> String {
    let step = |name: &str, step: Option<&lab_experiment::Step>| {
        step.map_or_else(String::new, |step| {
            let outcome = format!("{:?}", step.outcome).to_lowercase();
            format!(" {name} {outcome} {:.1}s", step.seconds)
        })
    };
    let paths = run.handed_out.as_ref().map_or_else(String::new, |handed_out| {
        let kind = if handed_out.map { "map" } else { "disk" };
        let wrong = if handed_out.right_volume == Some(false) { " WRONG VOLUME" } else { "" };
        let count = |paths: Option<usize>| paths.map_or_else(|| "?".to_owned(), |paths| paths.to_string());
        format!(" {kind} {}/{} paths{wrong}", count(handed_out.paths), count(handed_out.paths_later))
    });
    let lost = match (run.lost(), run.lost_untold(), run.differs()) {
        (_, true, _) => " DATA LOST SILENTLY",
        (true, ..) => " data lost, and told",
        (.., true) => " SOMETHING ELSE READ BACK",
        _ => "",
    };
    let missed = if run.missed() { " FAULT DID NOT STRIKE" } else { "" };
    let stuck = if run.not_cleaned.is_some() { " CANNOT BE CLEANED" } else { "" };
    format!(
        "{} {}:{}{paths}{}{}{}{}{missed}{stuck}",
        run.wish.contender.name(),
        run.wish.cell,
        step("attach", Some(&run.attach)),
        step("detach", run.detach.as_ref()),
        step("again", run.retry.as_ref().map(|retry| &retry.detach)),
        lost,
        if run.spotless() { String::new() } else { format!(" LEFT {:?}", run.left()) },
    )
}

/// What the guest for a cell is like; two volumes, since another's disk may be left at the LUN, and a target may serve
/// many; where neither is so, a run hides the second one.
fn shape(cell: Cell) -> Spec {
    Spec {
        target: cell.target,
        family: Family::Ipv4,
        portals: 4,
        volumes: 2,
        backend: cell.backend,
        script: String::new(),
        args: Vec::new(),
        collect: false,
        timeout: 0,
    }
}

/// In an order that follows from the seed; each run gets a seed of its own.
fn shuffled(missing: Vec<Missing>, seed: u64) -> Vec<Wish> {
    let mut wishes: Vec<Wish> = missing
        .into_iter()
        .zip(0_u64..)
        .map(|((cell, contender), number)| Wish {
            cell,
            contender,
            seed: mixed(seed, cell, contender, number),
        })
        .collect();
    wishes.sort_by_key(|wish| wish.seed);
    wishes
}

fn mixed(seed: u64, cell: Cell, contender: Contender, number: u64) -> u64 {
    let text = format!("{seed} {cell} {} {number}", contender.name());
    let digest = Sha256::digest(text.as_bytes());
    // JSON's numbers are exact up to 2^53.
    digest[..6].iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Runs that can share guests, in shares of what one guest is used for.
fn batches(wishes: Vec<Wish>) -> Vec<Vec<Wish>> {
    let mut batches: Vec<Vec<Wish>> = Vec::new();
    for wish in wishes {
        let fits = |batch: &&mut Vec<Wish>| {
            let cell = batch[0].cell;
            batch.len() < PER_GUEST && (cell.target, cell.backend) == (wish.cell.target, wish.cell.backend)
        };
        match batches.iter_mut().find(fits) {
            Some(batch) => batch.push(wish),
            None => batches.push(vec![wish]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::matrix;

    fn wishes(seed: u64) -> Vec<Wish> {
        let all = matrix::cells().into_iter().map(|cell| (cell, Contender::Bowline));
        shuffled(all.collect(), seed)
    }

    #[test]
    fn the_order_follows_from_the_seed() {
        assert_eq!(wishes(1), wishes(1));
        assert_ne!(wishes(1), wishes(2));
    }

    #[test]
    fn a_guest_has_one_target_and_every_run_one_guest() {
        let wishes = wishes(1);
        let batches = batches(wishes.clone());
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), wishes.len());
        for batch in &batches {
            assert!(batch.len() <= PER_GUEST);
            let shape = |wish: &Wish| (wish.cell.target, wish.cell.backend);
            assert!(batch.iter().all(|wish| shape(wish) == shape(&batch[0])));
        }
    }
}
