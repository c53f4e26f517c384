//! The helper's side: fork, reap, abandon. It waits in `poll` only.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use bowline_host::host::Blocking;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal, waitpid,
};

use super::process::SingleThreaded;
use super::protocol::{LONGEST, Report, Request};
use super::{OperationFailed, flush};

/// What performs an operation in a child. Tests give one that blocks on purpose.
pub type Perform = fn(&Blocking) -> Result<Vec<u8>, OperationFailed>;

/// An operation under way.
struct Child {
    id: u64,
    pid: Pid,
    /// Readable once the process has ended; signals sent through it cannot reach another process.
    pidfd: OwnedFd,
}

impl Child {
    /// A flush comes to its end: what the kernel tells it, it tells nobody else. One that only waits for another flush
    /// may go.
    fn may_be_killed(&self) -> bool {
        !flush::is_flushing(Path::new(""), self.pid.as_raw_nonzero().get().unsigned_abs())
    }
}

/// Serves the host at the other end of the socket until that end closes.
///
/// Fails when this process has more than one thread, and when the host sends what is no message.
pub fn serve(socket: BorrowedFd<'_>, perform: Perform) -> io::Result<()> {
    let single = SingleThreaded::prove()?;
    let mut children: Vec<Child> = Vec::new();
    let mut buffer = vec![0; LONGEST];
    let result = loop {
        match step(socket, perform, &single, &mut children, &mut buffer) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    for child in children.iter().filter(|child| child.may_be_killed()) {
        // Nobody is left to report to. One that has just ended needs no signal.
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    }
    result
}

/// Waits for something to do and does it; false when the other end is closed.
fn step(
    socket: BorrowedFd<'_>,
    perform: Perform,
    single: &SingleThreaded,
    children: &mut Vec<Child>,
    buffer: &mut [u8],
) -> io::Result<bool> {
    let ended = wait(socket, children)?;
    // From the back, so that an index stays right while others are removed.
    for index in ended.into_iter().rev() {
        reap(socket, children.swap_remove(index))?;
    }
    let length = match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
        Ok((0, _)) => return Ok(false),
        Ok((length, _)) => length,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(true),
        Err(rustix::io::Errno::CONNRESET) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let request = Request::decode(&buffer[..length])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match request {
        Request::Perform { id, operation } => match start(socket, perform, single, id, &operation) {
            Ok(child) => children.push(child),
            Err(failed) => report(socket, &failed)?,
        },
        Request::Abandon { id } => {
            if let Some(child) = children.iter().find(|child| child.id == id && child.may_be_killed()) {
                // It stays among the children until the kernel lets it end, and is reaped then.
                pidfd_send_signal(&child.pidfd, Signal::KILL)?;
            }
        }
    }
    Ok(true)
}

/// Waits for a message or the end of a child; the indices of children that ended, ascending.
fn wait(socket: BorrowedFd<'_>, children: &[Child]) -> io::Result<Vec<usize>> {
    let mut watched = vec![PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    watched.extend(children.iter().map(|child| PollFd::new(&child.pidfd, PollFlags::IN)));
    match poll(&mut watched, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let ended = watched[1..].iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ended.map(|(index, _)| index).collect())
}

/// Starts an operation in a child; else what is to be reported of it.
fn start(
    socket: BorrowedFd<'_>,
    perform: Perform,
    single: &SingleThreaded,
    id: u64,
    operation: &Blocking,
) -> Result<Child, Report> {
    let forked = single.fork(|| {
        let outcome = match perform(operation) {
            Ok(bytes) => Report::Done { id, bytes },
            Err(failure) => Report::Failed { id, failure },
        };
        // Without a host there is nobody to tell.
        let _ = report(socket, &outcome);
    });
    let pid = forked.map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
        let detail = format!("no process for it: {error}");
        Report::Failed { id, failure: OperationFailed { errno, detail, lost_write: false } }
    })?;
    // Not reaped yet, so the number is still this child's.
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Child { id, pid, pidfd }),
        Err(_) => {
            // A child that cannot be watched must not go on: its report would come after ours. What it was told until now is lost.
            let _ = kill_process(pid, Signal::KILL);
            Err(Report::Died { id })
        }
    }
}

/// Collects a child that ended, and reports for it if it could not do so itself.
fn reap(socket: BorrowedFd<'_>, child: Child) -> io::Result<()> {
    let status = waitpid(Some(child.pid), WaitOptions::NOHANG)?;
    match status.is_some_and(|(_, status)| status.exit_status() == Some(0)) {
        true => Ok(()),
        false => report(socket, &Report::Died { id: child.id }),
    }
}

fn report(socket: BorrowedFd<'_>, report: &Report) -> io::Result<()> {
    match send(socket, &report.encode(), SendFlags::NOSIGNAL) {
        // The host is gone; the next `recv` says so.
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
