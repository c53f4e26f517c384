//! Running one of the guest's programs to its end.

use std::process::{Command, Stdio};

use lab_wire::{Context, Failure};

/// Runs the program and returns what it printed.
///
/// # Errors
/// It cannot be started, or fails; what it said is in the error.
pub fn run<S: AsRef<str>>(words: &[S]) -> Result<String, Failure> {
    let line = words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
    let (program, arguments) = words.split_first().ok_or_else(|| Failure::new("no program to run"))?;
    let mut command = Command::new(program.as_ref());
    command.args(arguments.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    let output = command.output().context(|| format!("cannot start `{line}`"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(format!("`{line}` failed ({}): {said}", output.status)))
}

/// Runs a program that is written as one line without quotes.
///
/// # Errors
/// As [`run`].
pub fn run_line(line: &str) -> Result<String, Failure> {
    run(&line.split_whitespace().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_failure() {
        assert_eq!(run_line("echo one two").unwrap(), "one two\n");
        let failure = run(&["sh", "-c", "echo no >&2; exit 4"]).unwrap_err().to_string();
        assert!(failure.contains("no") && failure.contains('4'), "{failure}");
        assert!(run_line("no-such-program-anywhere").is_err());
    }
}
