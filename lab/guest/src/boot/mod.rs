//! From power on to the script's end.
//!
//! Two processes: [`init`] is the guest's first, and does nothing but reap (daemons and abandoned
//! helpers become its children); [`boot`] is its child and does the rest, so that waiting for the
//! script cannot mix with reaping strangers.

mod bring_up;
mod channel;
mod first;
mod script;
mod watch;

use lab_wire::{Failure, Frame};

use self::channel::Channel;
pub use self::first::init;
use crate::layout;

/// Brings everything up, runs the script, tells the outside how it ended.
pub fn boot() -> Result<(), Failure> {
    let channel = Channel::open()?;
    let outcome = layout::spec().and_then(|spec| {
        bring_up::bring_up(&spec, &channel)?;
        script::run(&spec, &channel)
    });
    match outcome {
        Ok(last) => channel.send(&last),
        Err(failure) => {
            channel.send(&Frame::Note(format!("cannot go on: {failure}")))?;
            Err(failure)
        }
    }
}
