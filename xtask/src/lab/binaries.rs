//! The programs under test, built static so that they run in any guest whatever its C library.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lab_wire::{Context, Failure};

/// Which programs go into a guest.
#[derive(Clone, Copy)]
pub struct Programs {
    /// The packages that have them.
    pub packages: &'static [&'static str],
    /// What they are called.
    pub names: &'static [&'static str],
}

/// What every guest has.
pub const PROGRAMS: Programs = Programs {
    packages: &["lab", "bowline-cli", "bowline-linux"],
    names: &["lab", "bowline", "bowline-helper"],
};
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds, and says where the programs are. Cargo's own messages go to standard error, and only when it works.
pub fn build(repo: &Path, programs: Programs) -> Result<Vec<PathBuf>, Failure> {
    let target = repo.join("target/lab");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(repo).args(["build", "--quiet", "--release", "--bins", "--target", TRIPLE]);
    command.arg("--target-dir").arg(&target);
    for package in programs.packages {
        command.args(["--package", package]);
    }
    // The flags of a caller's own build would make it rebuild all, and may not be static.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().context(|| "cannot start cargo")?;
    if !status.success() {
        return Err(Failure::new("the programs for the guest do not build, see above"));
    }
    let folder = target.join(TRIPLE).join("release");
    Ok(programs.names.iter().map(|program| folder.join(program)).collect())
}

/// Copies a program without its symbols, which the guest would only have to read.
pub fn install(program: &Path, folder: &Path) -> Result<(), Failure> {
    let to = folder.join(program.file_name().unwrap_or_default());
    let stripped = Command::new("strip").arg("-o").arg(&to).arg(program).stderr(Stdio::null()).status();
    if stripped.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    fs::copy(program, &to).map(drop).context(|| format!("cannot copy {}", program.display()))
}
