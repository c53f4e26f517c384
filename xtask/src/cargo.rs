//! Running cargo as a person would: in the repository's root, its output where ours goes.

use std::env;
use std::io;
use std::process::{Command, ExitStatus};

/// The repository's root.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Runs `cargo ARGUMENTS…` to its end with these variables set besides, and returns its exit code.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> io::Result<u8> {
    command(arguments, environment).status().map(code)
}

/// `cargo ARGUMENTS…`, not yet started.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(ROOT).envs(environment.iter().copied());
    // What cargo told us about this package is no matter of the next cargo, and would make it build anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The exit code, 1 where a signal ended it.
pub fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
