//! What git says.

use std::path::Path;
use std::process::Command;

/// What `git ARGUMENTS…` prints in a repository; nothing where it fails.
pub fn ask(repo: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(repo).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit that is checked out.
pub fn head(repo: &Path) -> Option<String> {
    ask(repo, &["rev-parse", "HEAD"])
}
