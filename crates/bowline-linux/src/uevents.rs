//! Subscribing to uevents: to group 2, udev's after its rules, and of those to what happens to block devices.
//!
//! Where many volumes come and go at once every process hears of each of their disks, and most of what is told is of other kinds
//! of devices: the kernel drops that before it wakes anybody. A message counts only from root, since any process may hold port
//! numbers but the kernel vouches for the user (SO_PASSCRED).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use async_trait::async_trait;
use bowline_host::HostError;
use bowline_host::host::{UeventNotice, UeventStream};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::io::unix::AsyncFd;

use crate::{async_socket, uevent_filter, uevent_parse, uevent_recv};

const FROM_UDEV: u32 = 2;
/// Hundreds of devices come and go at once when a host with many volumes loses a network.
const SOCKET_BUFFER: usize = 16 << 20;
/// udev's messages are some KiB of strings.
const MESSAGE: usize = 64 << 10;

/// A subscription.
#[derive(Debug)]
pub(crate) struct Uevents {
    socket: AsyncFd<OwnedFd>,
    buffer: Box<[u8]>,
}

impl Uevents {
    /// Subscribes. Events from now on are kept for [`UeventStream::next`].
    pub(crate) fn subscribe() -> Result<Self, HostError> {
        let failed = |error| HostError::io("subscribe to", "uevents", error);
        let socket = open().map_err(failed)?;
        let socket = async_socket::register(socket).map_err(failed)?;
        Ok(Self { socket, buffer: vec![0; MESSAGE].into() })
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
    // Beyond the system's limit only with CAP_NET_ADMIN; without it, as large as the limit allows.
    sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER))?;
    sockopt::set_socket_passcred(&socket, true)?;
    uevent_filter::only_block_devices(socket.as_fd())?;
    bind(&socket, &SocketAddrNetlink::new(0, FROM_UDEV))?;
    Ok(socket)
}

/// Receives until there is a notice, skipping what is none of udev's. `WouldBlock` when nothing has arrived.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<UeventNotice> {
    loop {
        let received = match uevent_recv::receive(socket.as_fd(), buffer) {
            Ok(received) => received,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(UeventNotice::Lost),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let message = &buffer[..received.length];
        if (received.group, received.user) != (FROM_UDEV, Some(0)) {
            continue;
        }
        // A message that was cut short is an event we cannot know.
        if received.cut {
            return Ok(UeventNotice::Lost);
        }
        if let Some(event) = uevent_parse::udev(message) {
            return Ok(UeventNotice::Event(event));
        }
    }
}

#[async_trait]
impl UeventStream for Uevents {
    async fn next(&mut self) -> Result<UeventNotice, HostError> {
        // Cancelled, this loses nothing: a message leaves the socket only in `try_io`, which has no await
        // between receiving and returning.
        loop {
            let ready = self.socket.readable().await;
            let mut ready = ready.map_err(|error| HostError::io("wait for", "uevents", error))?;
            let buffer = &mut self.buffer;
            if let Ok(result) = ready.try_io(|socket| receive(socket.get_ref(), buffer)) {
                return result.map_err(|error| HostError::io("receive", "uevents", error));
            }
        }
    }

    fn try_next(&mut self) -> Option<UeventNotice> {
        // An error shows again at `next`, which can report it.
        receive(self.socket.get_ref(), &mut self.buffer).ok()
    }
}
