//! `cargo xtask lab soak`: what takes too long for every test run, one campaign after another; `make soak`.

use std::num::NonZeroUsize;

use clap::Args;
use lab_wire::{Failure, Target};

use super::CasesArgs;
use crate::lab::{Stop, Suite};

/// How it runs
#[derive(Args)]
pub struct SoakArgs {
    /// Not again what has passed with the very same sources
    #[arg(long)]
    resume: bool,
    /// So many guests side by side
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
}

/// A campaign: what it is in words, and which cases in which guest.
pub struct Campaign {
    /// What it is.
    pub name: &'static str,
    suite: Option<Suite>,
    target: Option<Target>,
    soak: bool,
}

/// In the order in which they run. The short cases on Debian 12 and LIO are `make test`.
pub const CAMPAIGNS: [Campaign; 4] = [
    Campaign { name: "the cases that take long", suite: None, target: None, soak: true },
    Campaign { name: "the short cases on Debian 13", suite: Some(Suite::Trixie), target: None, soak: false },
    Campaign { name: "the basic cases with tgt", suite: None, target: Some(Target::Tgt), soak: false },
    Campaign { name: "the long cases on Debian 13", suite: Some(Suite::Trixie), target: None, soak: true },
];

impl Campaign {
    /// The names of its cases.
    pub fn cases(&self) -> Result<Vec<String>, Failure> {
        let chosen = CasesArgs::of(self.suite, self.target, self.soak).choose(super::all()?)?;
        Ok(chosen.into_iter().map(|case| case.name).collect())
    }

    /// Below the repository: what `cargo xtask proof` reads.
    pub fn file(&self) -> String {
        super::file_of(&super::results_of(self.suite, self.target, self.soak))
    }
}

/// Runs every campaign, also after one that failed; 0 when every case passed, else 1.
pub fn main(args: &SoakArgs) -> Result<u8, Stop> {
    let mut code = 0;
    for (number, campaign) in (1..).zip(&CAMPAIGNS) {
        println!("== {number}/{}  {}", CAMPAIGNS.len(), campaign.name);
        let (resume, jobs) = (args.resume, args.jobs);
        let cases =
            CasesArgs { resume, jobs, ..CasesArgs::of(campaign.suite, campaign.target, campaign.soak) };
        code = super::main(&cases)?.max(code);
    }
    Ok(code)
}
