//! Finds every deliberate fault of the engine: the proof that the simulator finds bugs.

use std::process::ExitCode;
use std::time::Instant;

use bowline::{Sabotage, switch};
use bowline_sim::drive::play;
use bowline_sim::scenario::Scenario;

/// A fault that is not found by so many seeds is not found.
const MOST_SEEDS: u64 = 20_000;

/// 0 when every one is found.
pub fn main() -> ExitCode {
    let mut missed = 0;
    for fault in Sabotage::ALL {
        switch(Some(*fault));
        let began = Instant::now();
        let found = (1..=MOST_SEEDS)
            .find_map(|seed| Some((seed, play(&Scenario::of(seed), false).wrongs.into_iter().next()?)));
        switch(None);
        let seconds = began.elapsed().as_secs_f64();
        match found {
            Some((seed, wrong)) => {
                let wrong: String = wrong.chars().take(90).collect();
                println!("(Sabotage::{fault:?}, {seed}),  // {seconds:.2} s: {wrong}");
            }
            None => {
                println!("{fault:?} is NOT found by {MOST_SEEDS} seeds in {seconds:.0} s");
                missed += 1;
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
