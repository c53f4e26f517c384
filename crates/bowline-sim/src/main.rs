//! The runner: scenarios from seeds, on every processor, until told to stop; failures shrunk, each with the one command that
//! replays it. It is no part of the model: it has a clock, threads and a terminal.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "the runner is no part of the model"
)]

mod campaign;
mod listed;
mod replay;
#[cfg(feature = "sabotage")]
mod sabotage;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Play scenarios on the simulated host
#[derive(Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
pub struct Args {
    /// Begin with this seed; alone, play this one and tell what happens
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// So many seeds
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// As many as fit into so many minutes
    #[arg(long, value_name = "M", conflicts_with = "runs")]
    minutes: Option<f64>,
    /// So many at once
    #[arg(long, value_name = "N", default_value = "2")]
    jobs: NonZeroUsize,
    /// Without these parts of the scenario
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    without: Vec<usize>,
    /// Fail when something that can be met was not
    #[arg(long)]
    cover: bool,
    /// So many seeds from here on as well
    #[arg(long, value_name = "S")]
    also: Option<u64>,
    /// Play the cases of this folder instead, which the laboratory plays as well, and print their records as JSON
    #[arg(long, value_name = "FOLDER")]
    conformance: Option<PathBuf>,
    /// Of these cases, tell also what happens
    #[arg(long, requires = "conformance")]
    trace: bool,
    /// Only these cases
    #[arg(value_name = "NAME", requires = "conformance")]
    names: Vec<String>,
    /// Find every deliberate fault of the engine, and tell by which seed and how soon
    #[cfg(feature = "sabotage")]
    #[arg(long)]
    sabotage: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "sabotage")]
    if args.sabotage {
        return sabotage::main();
    }
    if let Some(folder) = &args.conformance {
        return listed::main(folder, &args.names, args.trace);
    }
    match (args.seed, args.runs, args.minutes) {
        (Some(seed), None, None) => {
            replay::main(seed, &args.without.iter().copied().collect::<BTreeSet<_>>())
        }
        _ => campaign::main(&args),
    }
}
