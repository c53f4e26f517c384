//! Programs that the experiment starts or ends, in a guest where any of them may hang.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lab_wire::Failure;
use rustix::process::Pid;

/// A program that is ended at a limit, with nothing to read.
pub fn limited(limit: Duration, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(limit.as_secs().to_string()).arg(program).stdin(Stdio::null());
    command
}

/// Does what may hang in the kernel, where no signal ends it: in a thread of its own, which is left behind at the limit.
///
/// # Errors
/// It was not over by then.
pub fn by<T: Send + 'static>(
    limit: Instant,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (done, over) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    let left = limit.saturating_duration_since(Instant::now());
    over.recv_timeout(left).map_err(|_| Failure::new(format!("waited in vain for {what}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind_at_the_limit() {
        let began = Instant::now();
        let slow =
            by(began + Duration::from_millis(50), "a sleeper", || thread::sleep(Duration::from_secs(60)));
        assert_eq!(slow.unwrap_err().to_string(), "waited in vain for a sleeper");
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(by(began + Duration::from_secs(60), "an answer", || 7).unwrap(), 7);
    }
}
