//! Programs of the guest.

use std::process::{Command, Output, Stdio};

/// Runs it to its end.
///
/// # Errors
/// It cannot be started.
pub fn output(program: &str, words: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    command.output().map_err(|error| format!("cannot start {program}: {error}"))
}

/// Runs it; it must succeed.
///
/// # Errors
/// It fails; what it said is in the error.
pub fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let output = output(program, words)?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("`{program} {}` failed: {}", words.join(" "), said.trim()))
        }
    }
}

/// The laboratory's own command, which plays the world around the initiator.
///
/// # Errors
/// As [`run`].
pub fn lab(words: &[&str]) -> Result<(), String> {
    run("lab", words)
}
