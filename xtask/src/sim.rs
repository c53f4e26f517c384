//! `cargo xtask sim`: scenarios on the simulated host, in a build that is quick and has the engine's deliberate faults and
//! marks in it.

use std::path::Path;
use std::process::ExitCode;

use crate::{cargo, git};

/// What to play
#[derive(clap::Args)]
pub struct Args {
    /// Seeds from the commit as well, besides those that are always the same
    #[arg(long)]
    fresh: bool,
    /// Find every deliberate fault of the engine
    #[arg(long)]
    sabotage: bool,
    /// `--seed S`, `--runs N`, `--minutes M`, `--jobs N`, `--without PART,…`, `--cover`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The exit code of the runner.
pub fn main(args: &Args) -> ExitCode {
    let mut all: Vec<String> =
        ["run", "--release", "--quiet", "--package", "bowline-sim", "--features", "sabotage", "--"]
            .map(str::to_owned)
            .into();
    if args.sabotage {
        all.push("--sabotage".into());
    }
    if let (true, Some(seed)) = (args.fresh, seed_of_commit()) {
        all.extend(["--also".into(), seed.to_string()]);
    }
    all.extend(args.rest.iter().cloned());
    let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
    match cargo::run(&arguments, &[]) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("sim: cannot start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A number that the commit stands for: what was tested at one is tested there again.
fn seed_of_commit() -> Option<u64> {
    u64::from_str_radix(git::head(Path::new(cargo::ROOT))?.get(..12)?, 16).ok()
}
