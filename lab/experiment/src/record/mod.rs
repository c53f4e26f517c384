//! What the outside and the guest agree on: which experiment is wished for, and what is known of it afterwards.
//!
//! `cargo xtask experiment` depends on this library; the program that runs in the guest is the rest of the package.

mod bench;
mod cell;
mod contender;
mod fault;
mod run;

pub use bench::{Bench, BenchWish, Sessions, Timed};
pub use cell::{Cell, Paths, Setting, Work};
pub use contender::Contender;
pub use fault::Fault;
pub use run::{Data, HandedOut, Outcome, Outside, Retry, Run, Step, Versions, WWIDS, Wish, is_clean};

use std::time::Duration;

use clap::ValueEnum;

/// No run takes longer: its calls, data and waits have limits of their own, which the guest's program adds up where it is compiled.
pub const LONGEST_RUN: Duration = Duration::from_secs(6600);

/// So often the program in the guest prints an empty line: a run may say nothing for an hour, and a guest that stands still never will.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// What a value is called in the name of a cell, on a command line and in a record.
pub(crate) fn name<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
