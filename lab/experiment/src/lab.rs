//! The laboratory's own command, which plays the world around the initiator.

use std::process::Output;
use std::time::Duration;

use lab_wire::{Context, Failure};
use rustix::process::{Signal, kill_process};
use serde_json::{Map, Value};

use crate::left::{Left, PROGRAMS};
use crate::programs::{limited, running};

/// It takes a minute at most, whoever made it hang has his run ended by that.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs `lab` with these words.
///
/// # Errors
/// It fails; what it said is in the error.
pub fn lab(words: &[&str]) -> Result<(), Failure> {
    let output = output(words)?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Failure::new(format!("`lab {}` failed: {}", words.join(" "), said.trim())))
        }
    }
}

fn output(words: &[&str]) -> Result<Output, Failure> {
    limited(LIMIT, "lab").args(words).output().context(|| format!("cannot start `lab {}`", words.join(" ")))
}

/// Heals everything, makes the host as new with the configuration of the experiment, and proves it.
///
/// # Errors
/// Something stays.
pub fn fresh() -> Result<(), Failure> {
    for pid in PROGRAMS.into_iter().flat_map(running) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
    lab(&["clean"])?;
    // As OpenStack deploys it, and as the baseline was measured: every disk gets a map at once.
    lab(&["multipath", "find_multipaths=no"])?;
    let left = Left::look()?.counts();
    match left.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!("after cleaning there still is {left:?}"))),
    }
}

/// What is on the initiator, by kind, as the laboratory tells it.
pub fn leftovers() -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(&output(&["leftovers"])?.stdout).context(|| "cannot understand `lab leftovers`")
}

/// The connection of a volume with all portals, as a controller hands it out (only the properties, without their
/// wrapping). For a single path, too: who finds the first portal dead may try the others.
pub fn connection(volume: u16) -> Result<Value, Failure> {
    let mut answer: Value = serde_json::from_slice(&output(&["connection", &volume.to_string()])?.stdout)
        .context(|| "cannot understand `lab connection`")?;
    Ok(answer["data"].take())
}
