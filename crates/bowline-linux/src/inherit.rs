//! Files that one program inherits, and no other.
//!
//! Their descriptors stay close-on-exec in this process, and only the program's own process lets go of that. Where they could be inherited
//! for a moment, whatever another thread starts in that moment would have them, too, and keep a lock for as long as it runs: a helper
//! until its verb is over, which may wait for that very lock.

use std::fs::File;
use std::sync::Arc;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::process::Command;

/// The program inherits these files. The command keeps them open, so it must not outlive the start.
pub(crate) fn inherit(command: &mut Command, files: Vec<Arc<File>>) {
    if files.is_empty() {
        return;
    }
    let keep = move || files.iter().try_for_each(|file| Ok(fcntl_setfd(file, FdFlags::empty())?));
    // SAFETY: what runs between fork and exec only calls fcntl, which is async-signal-safe, on descriptors that the closure owns; it
    // takes no lock and allocates nothing.
    unsafe { command.pre_exec(keep) };
}
