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
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| is(*pid, program)).filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)).collect()
}

/// Whether a process has that name.
pub fn is(process: u32, program: &str) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == program)
}

/// A number in a process's `status` (proc(5)), by its key.
pub fn status(process: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}
