//! The seam between bowline's engine and a host, and typed clients above it.
//!
//! The seam ([`Host`]) is cut at the host's own bytes: a file in sysfs, a program with a deadline, a line
//! for multipathd, a device-mapper request, the next uevent, the clock, a lock, a state file. Everything
//! above it (parsers, exit codes, retries) is ordinary code that knows no operating system, so it runs
//! unchanged on a real host and on a simulated one.
//!
//! - [`names`]: a type for every identifier; parsing is validation.
//! - [`host`]: the trait, its requests and its errors.
//! - [`iscsi`], [`scsi`], [`multipath`], [`dm`], [`udev`]: one client a subsystem; [`layers`], [`openers`]: what lies upon a
//!   device, and who has it open.
#![forbid(unsafe_code)]

pub mod dm;
pub mod host;
pub mod iscsi;
pub mod layers;
pub mod lingering;
pub mod multipath;
pub mod names;
pub mod openers;
pub mod scsi;
pub mod secret;
mod sysfs;
#[cfg(test)]
mod testing;
pub mod udev;

pub use host::{Host, HostError, Moment};
pub use names::{Hctl, Iface, Iqn, Lun, MapName, NameError, Portal, ScsiHost, Sid, Wwid};
pub use secret::Secret;
