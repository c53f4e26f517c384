//! The `bowline` command: attach and detach iSCSI volumes.
//!
//! It reads arguments and connections, hands a goal to the engine with a host to reach it on, shows what
//! happens, and tells the result: on standard output nothing but that result, everything else on standard
//! error. The exit code follows from the kind of an error ([`bowline::ErrorKind::exit_code`]).
//!
//! - `cli`: the arguments; `connect`, `disconnect`, `inspect`, `finish`, `generate`: one file a subcommand;
//! - `input`: connections from files; `durations`: times on the command line;
//! - `run`: the runtime, what signals do, and what a bug does; `remains`: what a second signal leaves;
//! - `progress`: what happens now; `output`: results; `failure`: errors; `host`: the host.
#![forbid(unsafe_code)]

mod cli;
mod connect;
mod disconnect;
mod durations;
mod failure;
mod finish;
mod generate;
mod host;
mod input;
mod inspect;
mod output;
mod progress;
mod remains;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Verb};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let json = cli.verb.json();
    // A panic is a bug of ours, which is exit code 1, and not Rust's 101. One of the engine's has been met in `run` already.
    let result = catch_unwind(AssertUnwindSafe(|| match &cli.verb {
        Verb::Connect(args) => connect::main(args),
        Verb::Disconnect(args) => disconnect::main(args),
        Verb::Inspect(args) => inspect::main(args),
        Verb::Finish(args) => finish::main(args),
        Verb::Completions { shell } => generate::completions(*shell),
        Verb::Man => generate::man(),
    }))
    .unwrap_or_else(|_| Err(failure::bug()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, json),
    }
}
