//! `cargo xtask conformance`: the cases of `lab/conformance/cases`, played on the simulated host and on a real kernel, and
//! compared on what the engine sees. Where the two differ, the laboratory is the truth.

mod compare;
mod laboratory;
mod simulator;

use std::collections::BTreeMap;
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
    cases.retain(|case| args.all || !args.names.is_empty() || !case.soak || args.sim_only);
    if args.list {
        cases.iter().for_each(|case| println!("{:20} {}", case.name, case.sentence));
        return Ok(0);
    }
    let mut bad: Vec<String> = Vec::new();
    for case in &cases {
        keep("simulator", &case.name, &case.played)?;
        if let Played::Failure(why) = &case.played {
            println!("FAILED  {:20} on the simulated host: {why}", case.name);
            bad.push(case.name.clone());
        }
    }
    if args.sim_only {
        println!("conformance: {} of {} cases played on the simulated host", cases.len() - bad.len(), cases.len());
        return Ok(u8::from(!bad.is_empty()));
    }
    let began = Instant::now();
    let mut rest: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.name.as_str(), case)).collect();
    laboratory::play(&cases, &mut |name, seconds, played| {
        keep("laboratory", name, &played)?;
        if let Some(case) = rest.remove(name)
            && !agree(case, seconds, &played)
            && !bad.contains(&case.name)
        {
            bad.push(case.name.clone());
        }
        Ok(())
    })?;
    for name in rest.into_keys() {
        println!("FAILED  {name:20} was not played in the laboratory");
        bad.push(name.to_owned());
    }
    bad.dedup();
    println!(
        "conformance: simulator and laboratory agree in {} of {} cases, {:.0} s; their records are in {RECORDS}",
        cases.len() - bad.len(),
        cases.len(),
        began.elapsed().as_secs_f64()
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
