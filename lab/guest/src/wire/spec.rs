//! What one run of the laboratory shall look like, as the outside tells the guest.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One run: the target's shape and the script. Travels as JSON on the second disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Who plays the target.
    pub target: Target,
    /// The addresses that the portals listen on.
    pub family: Family,
    /// How many portals, each with a network of its own.
    pub portals: u8,
    /// How many volumes; volume n is LUN n.
    pub volumes: u16,
    /// How the volumes are offered.
    pub backend: Backend,
    /// The script's path in the guest.
    pub script: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whether to send what the script left in `/out`.
    pub collect: bool,
    /// The script's time limit in seconds.
    pub timeout: u64,
}

/// The implementation of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The kernel's own
    Lio,
    /// tgt's daemon, in user space
    Tgt,
}

/// The family of the portals' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// `10.0.N.2:3260`
    Ipv4,
    /// `[fd00:0:0:N::2]:3260`
    Ipv6,
}

/// How storage arrays differ in what they call a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// One IQN behind all portals
    OneIqn,
    /// An IQN for each portal, all with the same volumes
    IqnPerPortal,
}
