//! Forking without exec.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// The proof that this process has one thread, without which the child of a fork could find a lock of the
/// allocator held for ever.
#[derive(Debug)]
pub(super) struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the threads. Nothing in this module's callers starts one, so what is true now stays true.
    pub(super) fn prove() -> io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            threads => Err(io::Error::other(format!("{threads} threads, a process that forks may have one"))),
        }
    }

    /// Runs `work` in a child, which ends with it: status 0, or 101 when it panicked.
    pub(super) fn fork(&self, work: impl FnOnce()) -> io::Result<Pid> {
        let parent = getpid();
        // SAFETY: `self` proves that there is no other thread whose locks the child could find held. The
        // child runs only `work` and then leaves by `_exit`, so it never returns into its parent's frames.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    let tied = set_parent_process_death_signal(Some(Signal::KILL));
                    // The parent may have died before the line above; then no signal would ever come.
                    if tied.is_ok() && getppid() == Some(parent) {
                        work();
                    }
                }));
                // SAFETY: `_exit` ends the process; no handler of the parent's runs in its copy.
                unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
            }
            child => Pid::from_raw(child).ok_or_else(|| io::Error::other("fork returned no process id")),
        }
    }
}

/// Ignores the signals a terminal or a service manager sends to end us: the one who started us decides.
pub(super) fn ignore_interruptions() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: SIG_IGN installs no handler, so nothing of ours can run at a wrong moment. It fails only
        // for signals that cannot be ignored.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
