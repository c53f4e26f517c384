//! A few histories in the ordinary tests; ten thousand are played by `cargo xtask sim`.

use std::collections::BTreeSet;

use bowline_sim::drive::play;
use bowline_sim::scenario::Scenario;

/// B16: whatever goes wrong, the host is as it was, or what is left is named.
#[test]
fn b16_nothing_is_wrong_in_the_first_histories() {
    for seed in 1..=200 {
        let wrongs = play(&Scenario::of(seed), false).wrongs;
        assert_eq!(wrongs, Vec::<String>::new(), "cargo xtask sim --seed {seed}");
    }
}

/// B16: one seed is one history, byte for byte, on whichever thread.
#[test]
#[allow(clippy::disallowed_methods, reason = "what runs on another thread must be the same there")]
fn b16_the_same_seed_gives_the_same_trace() {
    let traces = |seeds: std::ops::Range<u64>| -> Vec<String> {
        seeds.map(|seed| play(&Scenario::of(seed), true).trace).collect()
    };
    let here = traces(1..20);
    assert!(here.iter().all(|trace| trace.len() > 1000), "they are kept");
    let elsewhere = std::thread::spawn(move || traces(1..20));
    assert_eq!(here, elsewhere.join().unwrap());
}

/// A scenario can be played without any of its parts.
#[test]
fn b16_parts_of_a_scenario_are_left_out_by_number() {
    for seed in 1..200 {
        let scenario = Scenario::of(seed);
        let all: BTreeSet<usize> = (0..scenario.parts()).collect();
        let nothing = scenario.without(&all);
        assert_eq!(nothing.parts(), 0);
        let last = scenario.parts() - 1;
        assert_eq!(scenario.without(&BTreeSet::from([last])).parts(), last);
    }
}
