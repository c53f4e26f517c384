//! The cases on the simulated host, in the build that `cargo xtask sim` has.

use std::process::Stdio;

use lab_wire::{Context, Failure};

use super::{CASES, Case};
use crate::cargo;

/// Plays all, or the named ones.
pub fn play(names: &[String]) -> Result<Vec<Case>, Failure> {
    let mut arguments =
        vec!["run", "--release", "--quiet", "--package", "bowline-sim", "--features", "sabotage", "--"];
    arguments.extend(["--conformance", CASES]);
    arguments.extend(names.iter().map(String::as_str));
    let mut command = cargo::command(&arguments, &[]);
    let output = command.stderr(Stdio::inherit()).output().context(|| "cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let cases: Vec<Case> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context(|| "cannot understand what the simulated host has played")?;
    match cases.is_empty() {
        true => Err(Failure::new("the simulated host has played nothing, see above")),
        false => Ok(cases),
    }
}
