//! The same cases on the simulated host and on a real kernel (requirements: B16), compared on what the engine sees.
//!
//! A case is a text of steps (`lab/conformance/cases`). A [`Stage`] is a host with storage and with somebody who can do to it
//! what a step says; there are two: the simulated host (bowline-sim) and the laboratory's guest (lab/conformance). [`play()`]
//! lets bowline work on a stage, looks at the host through the engine's own eyes after each verb, and makes the record: what
//! was answered, in which order each path was told of, what is there. Nothing in a record may differ between two hosts that
//! behave alike: no times, no names of devices, no numbers of sessions.
//!
//! - [`case`] and [`action`]: the language of the cases;
//! - [`mod@play`]: plays one; [`stage`]: what it needs of a host;
//! - [`others`]: what somebody else does on the same host;
//! - [`answer`], [`events`], [`look`]: what is recorded.
#![forbid(unsafe_code)]

pub mod action;
pub mod answer;
pub mod case;
pub mod connection;
pub mod events;
pub mod look;
pub mod others;
pub mod play;
pub mod stage;

pub use action::Action;
pub use case::Case;
pub use play::play;
pub use stage::{Answer, Stage};
