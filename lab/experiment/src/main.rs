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
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use clap::Parser;
use lab_experiment::{LONGEST_RUN, SIGN_OF_LIFE};
use lab_wire::{Context, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Runs experiments in the laboratory's guest
#[derive(Parser)]
#[command(name = "experiment")]
enum Command {
    /// Run these, one after another; each is a JSON object
    ///
    /// Ends with 3 where the host cannot be made clean before the first or after one: the rest need a fresh guest.
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

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Run { wishes } => each(&wishes, arena::run, |run| &mut run.not_cleaned),
        Command::Bench { wishes } => each(&wishes, bench::run, |bench| &mut bench.not_cleaned),
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
    not_cleaned: fn(&mut R) -> &mut Option<String>,
) -> Result<ExitCode, Failure> {
    for (number, wish) in wishes.iter().enumerate() {
        let wish = serde_json::from_str(wish).context(|| format!("`{wish}` is no wish"))?;
        let seen = thread::scope(|scope| {
            let (over, ends) = channel();
            scope.spawn(move || give_signs_of_life(&ends));
            let seen = one(number, &wish, run, not_cleaned);
            drop(over);
            seen
        })?;
        let Some(mut seen) = seen else { return Ok(ExitCode::from(3)) };
        println!("{}", serde_json::to_string(&seen).context(|| "cannot write a run as JSON")?);
        if let Some(why) = not_cleaned(&mut seen) {
            eprintln!("experiment: the host cannot be made clean after run {}: {why}", number + 1);
            return Ok(ExitCode::from(3));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One of them, and the cleaning after it, which belongs to what is known of it: the next one begins on what it leaves. Nothing where
/// the host of the first cannot be made clean.
fn one<W: Serialize, R>(
    number: usize,
    wish: &W,
    run: fn(&W) -> Result<R, Failure>,
    not_cleaned: fn(&mut R) -> &mut Option<String>,
) -> Result<Option<R>, Failure> {
    if number == 0
        && let Err(failure) = lab::fresh()
    {
        eprintln!("experiment: the host cannot be made clean before the first run: {failure}");
        return Ok(None);
    }
    // Who follows knows then which run it was, should the guest never answer again.
    println!("{}", serde_json::json!({ "begins": wish }));
    let mut seen = run(wish)?;
    *not_cleaned(&mut seen) = lab::fresh().err().map(|failure| failure.to_string());
    Ok(Some(seen))
}

/// Empty lines until the run is over, but no longer than one may take: a run that hangs shall not look alive.
fn give_signs_of_life(over: &Receiver<()>) {
    for _ in 0..LONGEST_RUN.as_secs() / SIGN_OF_LIFE.as_secs() {
        match over.recv_timeout(SIGN_OF_LIFE) {
            Err(RecvTimeoutError::Timeout) => println!(),
            _ => return,
        }
    }
}
