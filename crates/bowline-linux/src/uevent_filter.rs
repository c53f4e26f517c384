//! Which of udev's messages a socket takes: those of block devices. The kernel looks at each with a small program (SO_ATTACH_FILTER, classic
//! BPF) and drops the others.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where a message has the hash of its subsystem, in the network's order (systemd 252
/// `src/libsystemd/sd-device/device-monitor.c`, `monitor_netlink_header`).
const SUBSYSTEM_AT: u32 = 24;
const BLOCK: u32 = hash(b"block");

/// A whole message.
const ALL: u32 = u32::MAX;

/// The hash of a word: MurmurHash2, which reads words in the machine's own order (systemd 252 `src/basic/MurmurHash2.c`).
const fn hash(text: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = text.len() as u32;
    let (words, rest) = text.as_chunks::<4>();
    let mut at = 0;
    while at < words.len() {
        let word = u32::from_ne_bytes(words[at]).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
        at += 1;
    }
    let mut at = 0;
    while at < rest.len() {
        hash ^= (rest[at] as u32) << (8 * at);
        at += 1;
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// Lets the socket take nothing else. What is too short to have the hash is dropped.
pub(crate) fn only_block_devices(socket: BorrowedFd<'_>) -> io::Result<()> {
    let step =
        |code: u32, on_false: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: on_false, k };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, SUBSYSTEM_AT),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, BLOCK),
        step(libc::BPF_RET | libc::BPF_K, 0, ALL),
        step(libc::BPF_RET | libc::BPF_K, 0, 0),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the descriptor is open for the call; the program and its steps are alive, and of the length given beside them.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_hash_is_udevs() {
        // Computed by hand from systemd's source.
        assert_eq!(BLOCK, 0xf003_1db7);
    }

    #[test]
    fn what_is_no_block_device_does_not_arrive() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        only_block_devices(receiver.as_fd()).unwrap();
        let message = |subsystem: &[u8]| {
            [&[0; SUBSYSTEM_AT as usize][..], &hash(subsystem).to_be_bytes(), subsystem].concat()
        };
        for subsystem in [&b"scsi_device"[..], b"iscsi_session", b"block"] {
            sender.send(&message(subsystem)).unwrap();
        }
        sender.send(b"add@/devices").unwrap();
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 100];
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], message(b"block"));
        assert!(receiver.recv(&mut buffer).is_err());
    }
}
