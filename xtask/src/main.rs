//! `cargo xtask …`: the project's own commands. One file or folder for each; this one only chooses.

mod lab;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Boot a real kernel with a real iSCSI target, and run a script in it
    #[command(subcommand)]
    Lab(lab::Command),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Lab(command) => lab::main(command),
    }
}
