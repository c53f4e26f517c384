//! The host's side: many operations at once over one socket to one helper.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bowline_host::HostError;
use bowline_host::host::{Blocking, Failure};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::ARGUMENT;
use super::protocol::{LONGEST, Report, Request};
use crate::{async_socket, private_dir};

/// How long a helper that closed its socket may take to end, before its status is left unknown.
const GRACE: Duration = Duration::from_secs(1);

/// A helper that is started shortly before it is first needed, and again after it died.
#[derive(Debug)]
pub(crate) struct HelperClient {
    program: PathBuf,
    run_dir: PathBuf,
    current: Mutex<Option<Arc<Connection>>>,
}

impl HelperClient {
    pub(crate) fn new(program: PathBuf, run_dir: PathBuf) -> Self {
        Self { program, run_dir, current: Mutex::default() }
    }

    /// Performs an operation in a child of the helper. At the limit, or cancelled, the child is abandoned.
    pub(crate) async fn perform(&self, operation: &Blocking, limit: Duration) -> Result<Vec<u8>, HostError> {
        let (verb, object) = match operation {
            Blocking::WriteSysfs { path, .. } => ("write", path.clone()),
            Blocking::Sync { device, .. } => ("sync", device.device_node()),
            Blocking::ReadFirst { device, .. } => ("read", device.device_node()),
        };
        let connection = self.connection()?;
        match tokio::time::timeout(limit, connection.perform(operation)).await {
            Err(_) => Err(HostError::timed_out(verb, object, limit)),
            Ok(result) => result.map_err(|failure| HostError { operation: verb, object, failure }),
        }
    }

    /// Starts the helper, so that it is there when it is needed. What fails is told then.
    pub(crate) fn start_early(&self) {
        let _ = self.connection();
    }

    fn connection(&self) -> Result<Arc<Connection>, HostError> {
        let mut current = lock(&self.current);
        if let Some(connection) = current.as_ref().filter(|connection| connection.ended.get().is_none()) {
            return Ok(connection.clone());
        }
        let object = self.program.display().to_string();
        private_dir::ensure(&self.run_dir)?;
        let connection = self.start().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let why = "it was not found; BOWLINE_HELPER can name another place";
                HostError::unavailable("start", object, why)
            }
            _ => HostError::io("start", object, error),
        })?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    fn start(&self) -> io::Result<Arc<Connection>> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Only our end: the helper's children report with plain, waiting sends.
        rustix::io::ioctl_fionbio(&ours, true)?;
        let socket = async_socket::register(ours)?;
        let child = Command::new(&self.program)
            .arg(ARGUMENT)
            .env_clear()
            .current_dir(&self.run_dir)
            .process_group(0)
            .stdin(Stdio::from(theirs))
            // A child that never ends must not hold our caller's pipes open, on whose end somebody may wait.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let connection = Arc::new(Connection {
            socket,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            ended: OnceLock::new(),
        });
        tokio::spawn(listen(Listener(connection.clone()), child));
        Ok(connection)
    }
}

impl Drop for HelperClient {
    fn drop(&mut self) {
        if let Some(connection) = lock(&self.current).take() {
            // The listener keeps the socket alive; this ends the helper, and with it the listener.
            let _ = shutdown(connection.socket.get_ref(), Shutdown::Both);
        }
    }
}

/// One running helper.
#[derive(Debug)]
struct Connection {
    socket: AsyncFd<OwnedFd>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Report>>>,
    /// How the helper ended, once it has.
    ended: OnceLock<String>,
}

impl Connection {
    async fn perform(&self, operation: &Blocking) -> Result<Vec<u8>, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let message = Request::Perform { id, operation: operation.clone() }.encode();
        if message.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too long for the helper").into());
        }
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let _ticket = Ticket { connection: self, id };
        // After the insertion: a helper that ended before it forgot only those who were waiting then.
        if self.ended.get().is_some() {
            return Err(self.broken().into());
        }
        self.socket
            .async_io(Interest::WRITABLE, |socket| Ok(send(socket, &message, SendFlags::NOSIGNAL)?))
            .await
            .map_err(|_| self.broken())?;
        match receiver.await {
            Ok(Report::Done { bytes, .. }) => Ok(bytes),
            Ok(Report::Failed { failure, .. }) => Err(failure.into_failure()),
            Ok(Report::Died { .. }) => Err(died(operation)),
            Err(_) => Err(self.broken().into()),
        }
    }

    fn broken(&self) -> io::Error {
        let how = self.ended.get().map_or("it closed its socket", String::as_str);
        io::Error::new(io::ErrorKind::BrokenPipe, format!("the helper ended ({how}); the result is unknown"))
    }

    /// Hands reports to those who wait, until the helper closes its socket.
    async fn receive_all(&self) -> io::Result<()> {
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = self
                .socket
                .async_io(Interest::READABLE, |socket| {
                    Ok(recv(socket, &mut buffer[..], RecvFlags::empty())?.0)
                })
                .await?;
            if length == 0 {
                return Ok(());
            }
            let report = Report::decode(&buffer[..length])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(sender) = lock(&self.waiting).remove(&report.id()) {
                // The one who waited may be giving up at this moment.
                let _ = sender.send(report);
            }
        }
    }
}

/// What becomes of an operation whose process has ended without a result: what a flush was told is lost with it.
fn died(operation: &Blocking) -> Failure {
    let how = "its process ended without a result";
    match operation {
        Blocking::Sync { .. } => Failure::LostWrite(how.into()),
        Blocking::WriteSysfs { .. } | Blocking::ReadFirst { .. } => io::Error::other(how).into(),
    }
}

/// Somebody waits for an operation. Dropped before the report came, it abandons the operation.
struct Ticket<'a> {
    connection: &'a Connection,
    id: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if lock(&self.connection.waiting).remove(&self.id).is_some() {
            // Without waiting: should the socket be full, the child goes on to its own end, or to the helper's.
            let message = Request::Abandon { id: self.id }.encode();
            let _ = send(self.connection.socket.get_ref(), &message, SendFlags::NOSIGNAL);
        }
    }
}

/// The task that listens to a helper. However it ends, also with its runtime, nobody waits on in vain.
struct Listener(Arc<Connection>);

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.ended.set("nobody listens to it any more".into());
        lock(&self.0.waiting).clear();
    }
}

async fn listen(listener: Listener, mut child: Child) {
    let connection = &listener.0;
    let status = {
        let (mut receiving, mut waiting) = (pin!(connection.receive_all()), pin!(child.wait()));
        // The end of the process is watched too: a child that hangs in the kernel keeps the helper's end of
        // the socket open when the helper is killed. Reports first, since what was sent before still counts.
        poll_fn(|context| match receiving.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => waiting.as_mut().poll(context).map(Some),
        })
        .await
    };
    let status = match status {
        Some(status) => Some(status),
        None => {
            // After a malformed report the helper still runs; it ends when it sees our end close.
            let _ = shutdown(connection.socket.get_ref(), Shutdown::Both);
            tokio::time::timeout(GRACE, child.wait()).await.ok()
        }
    };
    let how = match status {
        Some(Ok(status)) => status.to_string(),
        Some(Err(error)) => error.to_string(),
        None => "it does not answer".into(),
    };
    let _ = connection.ended.set(how);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
