//! Programs that the experiment starts or ends, in a guest where any of them may hang.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

/// A program that is ended at a limit, with nothing to read.
pub fn limited(limit: Duration, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(limit.as_secs().to_string()).arg(program).stdin(Stdio::null());
    command
}

/// The processes of that name (`comm`).
pub fn running(program: &str) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_it = processes
        .filter(|folder| fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == program));
    is_it.filter_map(|folder| Pid::from_raw(folder.file_name()?.to_str()?.parse().ok()?)).collect()
}
