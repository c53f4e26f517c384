//! Handing a socket to tokio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Registers a non-blocking socket with the runtime of the caller, for reading and writing.
pub(crate) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: tokio asks that the descriptor stays the same and open as long as the object lives, and an
    // `OwnedFd` that nobody else can reach does just that: it is moved in, and only lent out shared.
    let registered = unsafe { AsyncFd::register(socket) };
    Ok(registered?)
}
