//! bowline's engine: attach and detach iSCSI volumes over several portals with dm-multipath.
//!
//! One sentence: it **observes** the host, **plans** the next steps towards a goal, **acts** on them in
//! parallel and **verifies** by observing again, until the goal is reached or the deadline is; before it
//! first changes the host it has written down what it is about to do.
//!
//! Where to read on:
//! - [`connect()`] and [`disconnect()`]: the verbs, each a goal handed to the loop;
//! - [`plan`]: the rules, pure functions of what was observed;
//! - [`topology`]: what is observed; [`run`]: the loop; `act`: how each step is done;
//! - [`journal`] and [`claims`]: what is on disk.
//!
//! The engine does no input or output of its own: everything goes through [`bowline_host::Host`].
#![forbid(unsafe_code)]

mod act;
pub mod cancel;
pub mod claims;
mod connect;
pub mod connection;
mod disconnect;
pub mod error;
pub mod event;
mod finish;
pub mod inspect;
pub mod journal;
pub mod ledger;
mod links;
mod locks;
mod narrate;
pub mod plan;
pub mod policy;
pub mod report;
pub mod run;
mod sabotage;
pub mod topology;
mod undo;

pub use cancel::{Cancel, Canceller};
pub use connect::connect;
pub use connection::{Chap, Connection, ConnectionError, WantedPath};
pub use disconnect::{Which, disconnect};
pub use error::{Error, ErrorKind};
pub use event::{Event, Observer};
pub use finish::{Finished, finish};
pub use inspect::inspect;
pub use policy::{ConnectOptions, DisconnectOptions, OnDirty};
pub use report::{Connected, Disconnected, Outcome};
#[cfg(feature = "sabotage")]
pub use sabotage::{Rule, Sabotage, switch, take_met};
pub use undo::undo_connect;
