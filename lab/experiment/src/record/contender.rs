//! Who does the work.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// bowline's command, started for each call
    Bowline,
    /// bowline's library in a process that lives on
    BowlineLibrary,
    /// os-brick as released today, in a process that lives on, without its privilege-separation daemon
    OsBrick,
    /// os-brick from before its rewrite of 2017, in the same way
    #[value(name = "os-brick-1.12")]
    #[serde(rename = "os-brick-1.12")]
    OsBrick112,
    /// A driver that decides nothing and verifies nothing: the work that cannot be done without; in benchmarks only
    Floor,
}

impl Contender {
    /// What it is called on a command line and in a record.
    pub fn name(self) -> String {
        super::name(&self)
    }
}
