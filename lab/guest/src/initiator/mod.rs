//! The initiator's side, seen by an inspector who trusts no program: what is left on it, and its cleaning.

mod clean;
mod leftovers;
mod sysfs;

pub use clean::clean;
pub use leftovers::leftovers;
