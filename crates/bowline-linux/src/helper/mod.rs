//! Operations that can block in the kernel, each in a process that can be abandoned.
//!
//! A write to a SCSI device's `delete`, an fsync, even an open can wait for ever, uninterruptibly, while a
//! map queues its I/O. A thread in that state would hold the whole process, its locks and its descriptors. So
//! these operations run elsewhere:
//!
//! ```text
//! LinuxHost ──socket──► bowline-helper ──fork──► one child per operation
//!     ▲                                               │
//!     └────────────────── its report ─────────────────┘
//! ```
//!
//! - The helper is an executable of its own: a library inside another program cannot run that program again,
//!   and a process of many threads must not fork without exec. It starts when its owner is about to act.
//! - The helper itself never blocks. It forks, reaps, and on `abandon` sends SIGKILL, which ends the child as
//!   soon as the kernel lets go of it.
//! - When the other end of the socket closes, because its owner is done or died, the helper kills its children
//!   and exits. Children die with it all the same (PR_SET_PDEATHSIG). What a child had already asked of the
//!   kernel goes on to its end there: nobody can take that back.
//! - A flush is the exception: its result must not be lost, so it comes to its end whoever dies, see `flush`.
//! - The helper ignores SIGINT, SIGTERM and SIGHUP and leads a process group of its own: at ctrl-C the clean-up
//!   still needs it.
//! - Neither helper nor children run programs or open anything but what the operation names, and the notes of flushes.

mod client;
mod flush;
mod perform;
#[allow(unsafe_code, reason = "fork and signal dispositions have no safe interface")]
mod process;
mod protocol;
mod server;

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use bowline_host::names::{BlockName, DevNumber};

pub(crate) use client::HelperClient;
pub use perform::{OperationFailed, perform};
pub use server::{Perform, serve};

/// The helper's only argument. It carries the version of the protocol, so that a helper of another release
/// ends at once instead of misunderstanding.
pub const ARGUMENT: &str = "serve-protocol-1";

/// Forgets the failure of a flush. Should its note stay, it is told twice, which does no harm.
pub(crate) fn flush_told(run_dir: &Path, device: &BlockName, number: DevNumber) {
    let _ = flush::told(&flush::note_of(run_dir, device, number));
}

/// The whole of the helper executable, with the operations it is to perform. The socket is descriptor 0.
pub fn main(perform: Perform) -> ExitCode {
    if !std::env::args().skip(1).eq([ARGUMENT]) {
        eprintln!("bowline-helper is started by bowline itself and of no use on its own.");
        return ExitCode::from(2);
    }
    process::ignore_interruptions();
    match serve(std::io::stdin().as_fd(), perform) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads the standard error of a helper; its status reaches the message of the error above.
        Err(_) => ExitCode::FAILURE,
    }
}
