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

use std::process::ExitCode;

use clap::Parser;

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
