//! The initiator's side, seen by an inspector who trusts no program: what is left on it, and its cleaning.

mod clean;
mod configuration;
mod leftovers;
mod sysfs;

pub use clean::clean;
pub use configuration::{
    Setting, configure_multipath, records_as_they_were, records_full, records_read_only,
};
pub use leftovers::leftovers;
