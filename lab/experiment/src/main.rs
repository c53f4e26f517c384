//! The experiment's program inside the guest: runs what it is asked for, one run after another, each from a host that
//! is proven clean, and prints a line of JSON for each.

mod arena;
mod bench;
mod contender;
mod counter;
mod data;
mod host;
mod lab;
mod left;
mod observe;
mod processor;
mod programs;
mod trouble;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use lab_wire::{Context, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Runs experiments in the laboratory's guest
#[derive(Parser)]
#[command(name = "experiment")]
enum Command {
    /// Run these, one after another; each is a JSON object
    ///
    /// Ends with 3 where the host cannot be made clean before one: the rest need a fresh guest.
    Run {
        /// What is wished for
        #[arg(required = true)]
        wishes: Vec<String>,
    },
    /// Measure these, one after another; otherwise as run
    Bench {
        /// What is wished for
        #[arg(required = true)]
        wishes: Vec<String>,
    },
    /// Write or read a pattern; a process of its own, because it may hang in the kernel
    #[command(hide = true)]
    Data(data::Job),
}

/// So often an empty line is printed: a run may say nothing for an hour, and a guest that stands still never will.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Run { wishes } => each(&wishes, arena::run),
        Command::Bench { wishes } => each(&wishes, bench::run),
        Command::Data(job) => data::main(&job),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("experiment: {failure}");
        ExitCode::from(2)
    })
}

fn each<W: DeserializeOwned + Serialize, R: Serialize>(
    wishes: &[String],
    run: fn(&W) -> Result<R, Failure>,
) -> Result<ExitCode, Failure> {
    thread::spawn(|| {
        loop {
            thread::sleep(SIGN_OF_LIFE);
            println!();
        }
    });
    for (number, wish) in wishes.iter().enumerate() {
        let wish = serde_json::from_str(wish).context(|| format!("`{wish}` is no wish"))?;
        if let Err(failure) = lab::fresh() {
            eprintln!("experiment: the host cannot be made clean before run {}: {failure}", number + 1);
            return Ok(ExitCode::from(3));
        }
        // Who follows knows then which run it was, should the guest never answer again.
        println!("{}", serde_json::json!({ "begins": wish }));
        let seen = run(&wish)?;
        println!("{}", serde_json::to_string(&seen).context(|| "cannot write a run as JSON")?);
    }
    Ok(ExitCode::SUCCESS)
}
