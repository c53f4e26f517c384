//! A simulated host: the kernel, iscsid, multipathd, udev, targets and network that bowline works with, in virtual time,
//! from a seed.
//!
//! The unchanged engine, with its parsers, exit codes and retries, runs on it through the seam. One seed is one history:
//! there is no clock, no thread and no unordered container in here (`clippy.toml`; `cargo xtask lint-bites`).
//!
//! - [`scenario`]: what a seed stands for: host, storage, who does what, and what goes wrong;
//! - [`drive`]: plays a scenario; [`check`]: what must hold after every verb and in the end;
//! - [`conform`]: plays the cases that the laboratory plays as well;
//! - [`model`]: what exists; [`host`]: one bowline process on it; [`executor`]: virtual time;
//! - [`shrink`]: the least of a scenario that still fails.
#![forbid(unsafe_code)]

pub mod check;
pub mod conform;
pub mod drive;
pub mod executor;
pub mod faults;
pub mod host;
pub mod model;
pub mod random;
pub mod scenario;
pub mod shrink;
