//! `cargo xtask experiment`: the work that clouds do all day, done by bowline and by os-brick on the same real kernel while
//! packets are lost and worse, and a report made from what was seen.
//!
//! The order of the files is the order of the work: the [`matrix`] says what is owed, the [`store`] what is there
//! already, the [`peers`] are installed, the [`campaign`] runs what is missing in [`guests`], whose answers become lines by
//! [`recording`], the [`report`] is made from all data. The [`bench`] is the same for speed, without faults.

mod bench;
mod campaign;
mod guests;
mod matrix;
mod peers;
mod recording;
mod report;
mod store;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::ValueEnum;
use lab_experiment::{Contender, Run};

use self::matrix::Selection;
use self::store::{Appending, Store};
use crate::lab::{Stop, told};

pub use self::bench::{BenchArgs, main as bench};

/// Which experiments are run
#[derive(clap::Args)]
pub struct ExperimentArgs {
    /// Only cells like this: a word of the name, or the name with * in it; `smoke` is no fault and 10 % loss, LIO, multipath
    #[arg(long, value_name = "CELLS", value_delimiter = ',')]
    cells: Vec<String>,
    /// Only these contenders
    #[arg(long, value_name = "CONTENDERS", value_delimiter = ',', value_enum)]
    contenders: Vec<Contender>,
    /// So many more runs of each, rather than what is missing of what the matrix owes
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// So many guests side by side
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// The order of the runs, and whatever is random in them, follows from this [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Say what is missing, and run nothing
    #[arg(long)]
    list: bool,
    /// Make the report from the data that is there, and run nothing
    #[arg(long, conflicts_with = "list")]
    report: bool,
}

/// Runs what is missing, and makes the report; 0 unless the laboratory itself failed.
pub fn main(args: &ExperimentArgs) -> ExitCode {
    told(run(args))
}

fn run(args: &ExperimentArgs) -> Result<u8, Stop> {
    let selection = Selection {
        cells: args.cells.clone(),
        contenders: match args.contenders.is_empty() {
            true => Contender::value_variants().to_vec(),
            false => args.contenders.clone(),
        },
        runs: args.runs,
    };
    selection.check()?;
    let store: Store<Run> = Store::open(store::RUNS)?;
    if args.list {
        let missing = matrix::missing(&selection, store.lines());
        for (cell, contender, count) in matrix::summary(&missing) {
            println!("{count:3} x {cell} by {}", contender.name());
        }
        println!("{} runs are missing", missing.len());
        return Ok(0);
    }
    let store = if args.report { store } else { fulfil(args, &selection, store.appending()?)? };
    report::write(store.lines())?;
    Ok(0)
}

/// Runs what is missing.
fn fulfil(args: &ExperimentArgs, selection: &Selection, store: Appending<Run>) -> Result<Store<Run>, Stop> {
    match matrix::missing(selection, store.lines()) {
        missing if missing.is_empty() => Ok(store.done()),
        missing => campaign::run(missing, args.seed.unwrap_or_else(store::now), args.jobs, store),
    }
}
