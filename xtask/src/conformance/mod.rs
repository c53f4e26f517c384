//! `cargo xtask conformance`: the cases of `lab/conformance/cases`, played on the simulated host and on a real kernel, and
//! compared on what the engine sees. Where the two differ, the laboratory is the truth.

mod compare;
mod laboratory;
mod simulator;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use lab_wire::{Context, Failure};
use serde::Deserialize;
use serde_json::Value;

use crate::lab::{Stop, repository, told};

/// Where the cases are, below the repository.
const CASES: &str = "lab/conformance/cases";
/// Where the records of both are kept.
const RECORDS: &str = "target/proof/conformance";

/// Which cases, and where
#[derive(clap::Args)]
pub struct Args {
    /// Only these: names of files in lab/conformance/cases, without .case
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only on the simulated host: from each of several seeds the record must be the same
    #[arg(long)]
    sim_only: bool,
    /// Those that take too long for every test run, too
    #[arg(long)]
    all: bool,
    /// Say what there is, and run nothing
    #[arg(long)]
    list: bool,
}

/// A case as the simulated host has played it.
#[derive(Deserialize)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    sentence: String,
    soak: bool,
    backend: String,
    family: String,
    #[serde(flatten)]
    played: Played,
}

/// How a case was played.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Played {
    /// Step by step, what was seen.
    Record(Vec<Value>),
    /// Why there is no record.
    Failure(String),
}

/// 0 when both agree in every case, else 1.
pub fn main(args: &Args) -> ExitCode {
    told(run(args))
}

fn run(args: &Args) -> Result<u8, Stop> {
    let mut cases = simulator::play(&args.names)?;
    if args.list {
        for case in &cases {
            println!("{:20} {}{}", case.name, if case.soak { "(soak) " } else { "" }, case.sentence);
        }
        return Ok(0);
    }
    let mut bad = BTreeSet::new();
    for case in &cases {
        keep("simulator", &case.name, &case.played)?;
        if let Played::Failure(why) = &case.played {
            println!("FAILED  {:20} on the simulated host: {why}", case.name);
            bad.insert(case.name.clone());
        }
    }
    let played = cases.len() - bad.len();
    println!("conformance: {played} of {} cases played on the simulated host", cases.len());
    if args.sim_only {
        return Ok(u8::from(!bad.is_empty()));
    }
    cases.retain(|case| args.all || !args.names.is_empty() || !case.soak);
    let began = Instant::now();
    let mut rest: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.name.as_str(), case)).collect();
    let mut agreed = 0;
    laboratory::play(&cases, &mut |name, seconds, played| {
        keep("laboratory", name, &played)?;
        match rest.remove(name) {
            Some(case) if agree(case, seconds, &played) => agreed += 1,
            _ => drop(bad.insert(name.to_owned())),
        }
        Ok(())
    })?;
    for name in rest.into_keys() {
        println!("FAILED  {name:20} was not played in the laboratory");
        bad.insert(name.to_owned());
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "conformance: simulator and laboratory agree in {agreed} of {} cases, {seconds:.0} s; {RECORDS} has the records",
        cases.len()
    );
    Ok(u8::from(!bad.is_empty()))
}

/// Tells whether both records are the same, and where not.
fn agree(case: &Case, seconds: f64, laboratory: &Played) -> bool {
    match (&case.played, laboratory) {
        (Played::Record(simulator), Played::Record(laboratory)) => {
            let differences = compare::records(simulator, laboratory);
            let word = if differences.is_empty() { "agree " } else { "DIFFER" };
            println!("{word}  {:20} {seconds:6.1}s  {:3} steps", case.name, laboratory.len());
            differences.iter().for_each(|difference| println!("{difference}"));
            differences.is_empty()
        }
        (_, Played::Failure(why)) => {
            println!("FAILED  {:20} in the laboratory: {why}", case.name);
            false
        }
        (Played::Failure(_), _) => false,
    }
}

fn keep(whose: &str, name: &str, played: &Played) -> Result<(), Failure> {
    let folder = repository().join(RECORDS).join(whose);
    fs::create_dir_all(&folder).context(|| format!("cannot make {}", folder.display()))?;
    let text = match played {
        Played::Record(record) => serde_json::to_string_pretty(record).unwrap_or_default(),
        Played::Failure(why) => why.clone(),
    };
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, text + "\n").context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_is_named_after_one_of_the_laboratory() {
        let names = |folder: &str| -> Vec<String> {
            let files = fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let names = files.map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
            names.collect()
        };
        let (cases, laboratory) = (names(CASES), names("lab/cases"));
        assert!(cases.len() >= 25, "{}", cases.len());
        for case in &cases {
            // One case of the laboratory may be several here.
            assert!(laboratory.iter().any(|name| case.starts_with(name.as_str())), "{case}");
        }
    }

    #[test]
    fn a_line_of_either_side_is_a_record_or_a_failure() {
        let line =
            r#"{"case":"x","sentence":"X.","soak":true,"backend":"one-iqn","family":"ipv4","record":[1]}"#;
        assert_eq!(serde_json::from_str::<Case>(line).unwrap().played, Played::Record(vec![Value::from(1)]));
        let line = line.replace(r#""record":[1]"#, r#""failure":"why""#);
        assert_eq!(serde_json::from_str::<Case>(&line).unwrap().played, Played::Failure("why".into()));
    }
}
