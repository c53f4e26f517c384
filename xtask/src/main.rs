//! `cargo xtask …`: the project's own commands. One file or folder for each; this one only chooses.

mod cargo;
mod demo;
mod lab;
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
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Demo => demo::main(),
        Command::Test(args) => test::main(&args),
        Command::Lab(command) => lab::main(command),
    }
}
