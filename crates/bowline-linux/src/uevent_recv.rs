//! `recvmsg` with the sender's address and credentials.
//!
//! rustix is not used here: its credentials hold a non-zero process id, and one of another process namespace is told as 0
//! (rustix 1.1 `UCred`).

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// How many bytes of the buffer were filled.
    pub(crate) length: usize,
    /// Whether the message was longer than the buffer.
    pub(crate) cut: bool,
    /// The multicast group it was sent to; 0 when it was sent to us alone.
    pub(crate) group: u32,
    /// The sender's user, as the kernel vouches for it.
    pub(crate) user: Option<u32>,
}

/// Receives one message without waiting.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // Room for one `ucred` with its header (32 bytes on 64 bits), aligned as `cmsghdr` must be.
    let mut control = [0_u64; 8];
    // SAFETY: all-zero bytes are a value of these C structures.
    let (mut address, mut header): (libc::sockaddr_nl, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the descriptor is open for the call; every pointer in the header leads to a live, exclusively
    // borrowed object of the length given beside it, all of which outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
    Ok(Received {
        length: length.min(buffer.len()),
        cut: header.msg_flags & libc::MSG_TRUNC != 0,
        group: address.nl_groups,
        user: sender(&header),
    })
}

/// The user id among the control messages.
fn sender(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: the kernel filled `msg_control` up to `msg_controllen`, and the buffer is alive; CMSG_FIRSTHDR
    // and CMSG_NXTHDR return null or a whole header inside it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: `message` is not null, so it points to a whole, aligned header inside the buffer.
        let head = unsafe { *message };
        // SAFETY: pure arithmetic.
        let whole = unsafe { libc::CMSG_LEN(size_of::<libc::ucred>() as u32) } as usize;
        if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS)
            && head.cmsg_len as usize >= whole
        {
            let mut credentials = MaybeUninit::<libc::ucred>::uninit();
            // SAFETY: the length was checked, so a `ucred` of plain integers lies there, at any alignment.
            let credentials = unsafe {
                let data = libc::CMSG_DATA(message);
                data.copy_to_nonoverlapping(credentials.as_mut_ptr().cast(), size_of::<libc::ucred>());
                credentials.assume_init()
            };
            return Some(credentials.uid);
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}
