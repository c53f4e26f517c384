//! The cases that the laboratory plays as well, on the simulated host alone. The comparison is `cargo xtask conformance`.
#![allow(clippy::disallowed_methods, reason = "the list lies in files")]

use std::fs;
use std::path::Path;

use bowline_conformance::Case;
use bowline_sim::conform::play;

/// B16: every case of the list can be played, and the record depends on no latency.
#[test]
fn b16_every_case_has_one_record() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/conformance/cases");
    let mut count = 0;
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let case = Case::parse(&name, &fs::read_to_string(&path).unwrap()).unwrap();
        let record =
            |seed| play(&case, seed).record.unwrap_or_else(|why| panic!("{name}, seed {seed}: {why}"));
        assert_eq!(record(101), record(102), "{name}");
        count += 1;
    }
    assert!(count >= 25, "{count} cases");
}
