//! `cargo xtask …`: the project's own commands. One file or folder for each; this one only chooses.

mod lab;
mod lint_bites;
mod proof;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Boot a real kernel with a real iSCSI target, and run a script in it
    #[command(subcommand)]
    Lab(lab::Command),
    /// Print which tests prove which requirement, and fail when one is not proved
    Proof(proof::ProofArgs),
    /// Prove that the lint bites that keeps clocks, threads and files out of engine and seam
    LintBites,
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Lab(command) => lab::main(command),
        Command::Proof(args) => proof::main(&args),
        Command::LintBites => lint_bites::main(),
    }
}
