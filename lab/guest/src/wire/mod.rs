//! What the machine outside and the guest inside have to agree on, and nothing else:
//! the wish ([`Spec`]), the stream that answers it ([`Frame`]), and the paths both name.
//!
//! `cargo xtask lab` depends on this library; the guest's program is the other half of the package.

pub mod failure;
mod frame;
pub mod paths;
mod spec;

pub use failure::{Context, Failure};
pub use frame::Frame;
pub use spec::{Backend, Family, Spec, Target};
