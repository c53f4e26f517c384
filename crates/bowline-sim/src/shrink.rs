//! The least of a scenario that still fails.

use std::collections::BTreeSet;

use crate::drive::play;
use crate::scenario::Scenario;

/// The parts that can be left out of a scenario so that it still fails: each is tried alone, those that changed nothing stay
/// out, and so on until none can be left out any more.
pub fn shortest(scenario: &Scenario) -> BTreeSet<usize> {
    let mut left_out = BTreeSet::new();
    loop {
        let before = left_out.len();
        for part in 0..scenario.parts() {
            if left_out.contains(&part) {
                continue;
            }
            let mut fewer = left_out.clone();
            fewer.insert(part);
            if !play(&scenario.without(&fewer), false).wrongs.is_empty() {
                left_out = fewer;
            }
        }
        if left_out.len() == before {
            return left_out;
        }
    }
}
