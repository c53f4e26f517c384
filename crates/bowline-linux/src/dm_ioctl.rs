//! The one ioctl call of device-mapper, for requests that only look.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::ioctl::{Direction, opcode};

use crate::dm_parse::HEADER;

/// A request that changes nothing. There is deliberately no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// DM_VERSION.
    Version = 0,
    /// DM_DEV_STATUS.
    DevStatus = 7,
    /// DM_TABLE_DEPS.
    TableDeps = 11,
    /// DM_TABLE_STATUS.
    TableStatus = 12,
}

/// Sends a request and leaves the kernel's answer in its buffer.
///
/// The buffer begins with a `struct dm_ioctl`; its `data_size` is set here to the buffer's length.
pub(crate) fn look(control: BorrowedFd<'_>, what: Look, buffer: &mut [u8]) -> io::Result<()> {
    let size = u32::try_from(buffer.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if buffer.len() < HEADER {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    buffer[12..16].copy_from_slice(&size.to_ne_bytes());
    let number = opcode::from_components(Direction::ReadWrite, 0xfd, what as u8, HEADER);
    // SAFETY: the descriptor is open for the call. For these four requests the kernel reads and writes at
    // most `data_size` bytes from the pointer on (Linux 6.1 `drivers/md/dm-ioctl.c`, `copy_params` and the
    // final `copy_to_user`), and `data_size` was just set to the length of the exclusively borrowed buffer,
    // which holds at least the header. It keeps no pointer. Any bytes are valid for `u8`.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), number as _, buffer.as_mut_ptr()) };
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_numbers_are_those_of_the_header_file() {
        // DM_TABLE_STATUS is 0xc138fd0c on every architecture whose ioctl numbers are the generic ones.
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            let number = opcode::from_components(Direction::ReadWrite, 0xfd, Look::TableStatus as u8, HEADER);
            assert_eq!(number as u64, 0xc138_fd0c);
        }
    }

    #[test]
    fn a_short_buffer_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = look(std::os::fd::AsFd::as_fd(&file), Look::Version, &mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
