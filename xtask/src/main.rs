//! `cargo xtask …`: the project's own commands. One file or folder for each; this one only chooses.

mod cargo;
mod conformance;
mod demo;
mod experiment;
mod git;
mod lab;
mod lint_bites;
mod proof;
mod sim;
mod test;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Where this was built for: what it reads and writes lies there.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Where cargo runs it for, if that is elsewhere: with a target folder that clones share (`CARGO_TARGET_DIR`), cargo starts the
/// program that was built last, whosever it is (seen with cargo 1.95.0), and it would write its results into the other clone.
fn other_clone() -> Option<PathBuf> {
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).filter(|asked| asked != Path::new(HERE))
}

/// The project's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Attach, use and detach a volume on a real kernel, and tell the story; `make demo`
    Demo,
    /// Every check of the project, one stage after another; `make test`
    Test(test::Args),
    /// Boot a real kernel with a real iSCSI target, and run a script in it
    #[command(subcommand)]
    Lab(lab::Command),
    /// Attach and detach under faults beside os-brick, and report; `make experiment`
    Experiment(experiment::ExperimentArgs),
    /// Measure speed beside os-brick and the least that must be done, and report; `make bench`
    Bench(experiment::BenchArgs),
    /// Play scenarios on the simulated host: `--seed S`, `--runs N`, `--minutes M`
    Sim(sim::Args),
    /// Play the cases of lab/conformance on the simulated host and on a real kernel, and compare what the engine sees
    Conformance(conformance::Args),
    /// Print which tests prove which requirement, and fail when one is not proved
    Proof(proof::ProofArgs),
    /// Prove that the lint bites that keeps clocks, threads and files out of engine, seam and simulated host
    LintBites,
}

fn main() -> ExitCode {
    if let Some(other) = other_clone() {
        eprintln!(
            "xtask: this program was built for {HERE}, and is asked to run for {}: several clones share a target folder. `cargo clean \
             -p xtask` has it built anew; better give each clone a folder of its own",
            other.display()
        );
        return ExitCode::FAILURE;
    }
    match Command::parse() {
        Command::Demo => demo::main(),
        Command::Test(args) => test::main(&args),
        Command::Lab(command) => lab::main(command),
        Command::Experiment(args) => experiment::main(&args),
        Command::Bench(args) => experiment::bench(&args),
        Command::Sim(args) => sim::main(&args),
        Command::Conformance(args) => conformance::main(&args),
        Command::Proof(args) => proof::main(&args),
        Command::LintBites => lint_bites::main(),
    }
}
