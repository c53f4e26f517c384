//! Looking at device-mapper devices.
//!
//! Only four requests, none of which changes anything; making and removing maps is multipathd's. They take
//! device-mapper's locks for reading and wait for no I/O (tried on Linux 6.1 with a map that queues for ever).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use bowline_host::HostError;
use bowline_host::host::{DmDevice, DmId};

use crate::dm_ioctl::{Look, look};
use crate::dm_parse::{HEADER, Key, NO_FLUSH, Reply, STATUS_TABLE, request};

const CONTROL: &str = "/dev/mapper/control";
/// Enough for a map of some hundred paths.
const FIRST_BUFFER: usize = 16 << 10;
/// A table that needs more is none of multipath's.
const LARGEST_BUFFER: usize = 16 << 20;
/// How often a map that was replaced while it was looked at is looked at again.
const TRIES: usize = 4;

/// Device-mapper's control device, opened at the first question.
#[derive(Debug, Default)]
pub(crate) struct DeviceMapper {
    control: OnceLock<File>,
}

impl DeviceMapper {
    /// Looks at one device; `None` when there is none.
    pub(crate) fn device(&self, id: &DmId) -> Result<Option<DmDevice>, HostError> {
        let (object, key) = match id {
            DmId::Uuid(uuid) => (uuid.as_str(), Key::Uuid(uuid)),
            DmId::Name(name) => (name.as_str(), Key::Name(name.as_str())),
        };
        let control = self.control()?;
        for _ in 0..TRIES {
            match device(control, key) {
                Ok(Seen::Device(device)) => return Ok(Some(device)),
                Ok(Seen::Nothing) => return Ok(None),
                Ok(Seen::Changed) => {}
                Err(error) => return Err(HostError::io("ask device-mapper for", object, error)),
            }
        }
        let error = io::Error::new(io::ErrorKind::ResourceBusy, "it is replaced again and again");
        Err(HostError::io("ask device-mapper for", object, error))
    }

    fn control(&self) -> Result<&File, HostError> {
        if let Some(control) = self.control.get() {
            return Ok(control);
        }
        let missing = |why: &str| {
            HostError::unavailable("open", CONTROL, format!("{why}; load it with: modprobe dm_multipath"))
        };
        // For reading and writing, as libdevmapper does.
        let control = OpenOptions::new().read(true).write(true).open(CONTROL).map_err(|error| {
            match (error.kind(), error.raw_os_error()) {
                (io::ErrorKind::NotFound, _) | (_, Some(libc::ENODEV | libc::ENXIO)) => {
                    missing("this kernel has no device-mapper")
                }
                _ => HostError::io("open", CONTROL, error),
            }
        })?;
        let mut buffer = request(Key::Nothing, 0, HEADER).unwrap_or_default();
        look(control.as_fd(), Look::Version, &mut buffer)
            .map_err(|error| HostError::io("ask device-mapper for", "its version", error))?;
        match Reply(&buffer).version() {
            Some((4, _)) => Ok(self.control.get_or_init(|| control)),
            other => Err(HostError::unavailable(
                "use",
                CONTROL,
                format!("version 4 of device-mapper's interface is needed, the kernel has {other:?}"),
            )),
        }
    }
}

/// What one look found.
enum Seen {
    Device(DmDevice),
    Nothing,
    /// Another device had the name or UUID by the end: the parts do not belong together.
    Changed,
}

fn device(control: &File, key: Key<'_>) -> io::Result<Seen> {
    let Some(head) = ask(control, Look::DevStatus, key, 0)? else { return Ok(Seen::Nothing) };
    let head = Reply(&head);
    let mut device = DmDevice {
        name: head.name().ok_or_else(malformed)?,
        uuid: head.uuid().ok_or_else(malformed)?,
        number: head.number().ok_or_else(malformed)?,
        open_count: head.open_count().ok_or_else(malformed)?,
        suspended: head.is_suspended(),
        live_table: head.has_live_table(),
        deps: Vec::new(),
        table: Vec::new(),
        status: Vec::new(),
    };
    if !device.live_table {
        // Without a table the kernel leaves the data part as we sent it.
        return Ok(Seen::Device(device));
    }
    let parts = [(Look::TableDeps, 0), (Look::TableStatus, STATUS_TABLE), (Look::TableStatus, NO_FLUSH)];
    for (what, flags) in parts {
        let Some(bytes) = ask(control, what, key, flags | NO_FLUSH)? else { return Ok(Seen::Nothing) };
        let reply = Reply(&bytes);
        if reply.number() != Some(device.number) || !reply.has_live_table() {
            return Ok(Seen::Changed);
        }
        match (what, flags) {
            (Look::TableDeps, _) => device.deps = reply.deps().ok_or_else(malformed)?,
            (_, STATUS_TABLE) => device.table = reply.targets().ok_or_else(malformed)?,
            _ => device.status = reply.targets().ok_or_else(malformed)?,
        }
    }
    Ok(Seen::Device(device))
}

/// Asks with a buffer that grows until the answer fits; `None` when there is no such device.
fn ask(control: &File, what: Look, key: Key<'_>, flags: u32) -> io::Result<Option<Vec<u8>>> {
    let mut size = FIRST_BUFFER;
    loop {
        let mut buffer = request(key, flags, size).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "it is no name device-mapper could have given")
        })?;
        match look(control.as_fd(), what, &mut buffer) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok(()) if !Reply(&buffer).is_cut() => return Ok(Some(buffer)),
            Ok(()) if size < LARGEST_BUFFER => size *= 2,
            Ok(()) => return Err(io::Error::new(io::ErrorKind::FileTooLarge, "its table exceeds 16 MiB")),
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer contradicts itself")
}
