//! The laboratory's own command, which plays the world around the initiator.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::Output;
use std::time::{Duration, Instant};

use lab_wire::{Context, Failure};
use rustix::process::{Signal, kill_process};
use serde_json::{Map, Value};

use crate::left::{Left, PROGRAMS};
use crate::programs::{by, limited, running};

/// It takes a minute at most, whoever made it hang has his run ended by that.
const LIMIT: Duration = Duration::from_secs(600);
/// What its commands take of a run at most, in seconds: the one that hangs is the last, and all others together, cleaning too, need no
/// longer than that one.
pub const LONGEST: u64 = 2 * LIMIT.as_secs();
/// Then it is ended, and gets so long for it.
const ENDING: Duration = Duration::from_secs(10);
/// The lock of open-iscsi's database is that this file is there; each iscsiadm waits 30 s for it to go (open-iscsi 2.1.8,
/// `usr/idbm.c`, `idbm_lock`).
const DATABASE_LOCK: &str = "/run/lock/iscsi/lock.write";
/// Where multipath remembers the volumes of which no map could be made (multipath-tools 0.9.4, `libmultipath/wwids.c`,
/// `mark_failed_wwid`; Debian's is built with /run).
const FAILED_WWIDS: &str = "/run/multipath/failed_wwids";

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
    let (what, mut command) = (format!("`lab {}`", words.join(" ")), limited(LIMIT, "lab"));
    command.args(words);
    let output = by(Instant::now() + LIMIT + ENDING, &what, move || command.output())?;
    output.context(|| format!("cannot start {what}"))
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
    // `lab clean` stops where it sees nothing, and these it does not look for. An iscsiadm that was killed above has not removed its
    // lock; multipathd has no device any more of which no map could be made.
    let removed = gone(fs::remove_file(DATABASE_LOCK)).and_then(|()| gone(fs::remove_dir_all(FAILED_WWIDS)));
    removed.context(|| format!("cannot remove {DATABASE_LOCK} and {FAILED_WWIDS}"))?;
    // As OpenStack deploys it, and as the baseline was measured: every disk gets a map at once.
    lab(&["multipath", "find_multipaths=no"])?;
    let left = Left::look()?.counts();
    match left.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!("after cleaning there still is {left:?}"))),
    }
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
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
