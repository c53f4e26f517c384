//! The cases that the laboratory plays as well: each from several seeds, its record as a line of JSON.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use bowline_conformance::Case;
use bowline_conformance::case::{Backend, Family};
use bowline_sim::conform::play;
use serde_json::{Value, json};

/// From so many seeds each; the record must not depend on it.
const SEEDS: u64 = 20;

/// Plays the cases of a folder, or those that are named; 0 when each has a record.
pub fn main(folder: &Path, names: &[String], trace: bool) -> ExitCode {
    match all(folder, names) {
        Ok(cases) => {
            let failed = cases.iter().filter(|case| !tell(case, trace)).count();
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("conformance: {why}");
            ExitCode::FAILURE
        }
    }
}

fn all(folder: &Path, names: &[String]) -> Result<Vec<Case>, String> {
    let entries =
        fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut cases = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_case = path.extension().is_some_and(|extension| extension == "case");
        if is_case && (names.is_empty() || names.contains(&name)) {
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            cases.push(Case::parse(&name, &text)?);
        }
    }
    if let Some(unknown) = names.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        return Err(format!("there is no case {unknown}"));
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// One line; whether there is a record.
fn tell(case: &Case, trace: bool) -> bool {
    let outcome = record(case, trace);
    let mut line = json!({
        "case": case.name,
        "sentence": case.sentence,
        "soak": case.soak,
        "backend": match case.backend { Backend::OneIqn => "one-iqn", Backend::IqnPerPortal => "iqn-per-portal" },
        "family": match case.family { Family::Ipv4 => "ipv4", Family::Ipv6 => "ipv6" },
    });
    let (key, value) = match &outcome {
        Ok(record) => ("record", Value::Array(record.clone())),
        Err(why) => ("failure", json!(why)),
    };
    line[key] = value;
    println!("{line}");
    outcome.is_ok()
}

fn record(case: &Case, trace: bool) -> Result<Vec<Value>, String> {
    let mut first: Option<Vec<Value>> = None;
    for seed in 1..=SEEDS {
        let played = play(case, seed);
        if trace && seed == 1 {
            eprintln!("{}", played.trace);
        }
        let record = played.record.map_err(|why| format!("seed {seed}: {why}"))?;
        match &first {
            None => first = Some(record),
            Some(first) => {
                if let Some((a, b)) = first.iter().zip(&record).find(|(a, b)| a != b) {
                    if trace {
                        eprintln!("seed {seed}:\n{}", played.trace);
                    }
                    return Err(format!("seed {seed} gives another record than seed 1: {b} and not {a}"));
                }
            }
        }
    }
    Ok(first.unwrap_or_default())
}
