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

/// B16: what the simulator has found stays found: every seed of docs/findings.md. (A seed whose history has changed with the model
/// since is played all the same.)
#[test]
fn b16_nothing_is_wrong_in_the_histories_that_have_found_something() {
    let findings = include_str!("../../../docs/findings.md");
    let words: Vec<&str> = findings.split_whitespace().collect();
    let is_number = |word: &&&str| word.starts_with(|first: char| first.is_ascii_digit());
    let is_seed =
        |word: &str| matches!(word.trim_start_matches('(').to_ascii_lowercase().as_str(), "seed" | "seeds");
    let named = words.iter().enumerate().filter(|(_, word)| is_seed(word));
    let numbers = named.flat_map(|(at, _)| words[at + 1..].iter().take_while(is_number));
    let seeds: BTreeSet<u64> =
        numbers.filter_map(|word| word.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()).collect();
    assert!(seeds.len() > 40 && seeds.contains(&8543) && seeds.contains(&472_669), "{seeds:?}");
    for seed in seeds {
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
