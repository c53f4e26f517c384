//! `cargo xtask lint-bites`: proves that what `clippy.toml` of the engine and of the seam forbids is refused. A lint
//! that is configured in the wrong place, or for a name that has moved, is silent otherwise.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The crates that must have no world of their own.
const CRATES: [&str; 4] = ["bowline", "bowline-conformance", "bowline-host", "bowline-sim"];

/// One line each, and what clippy must say of it.
const SINS: [(&str, &str); 10] = [
    ("let _ = std::time::Instant::now();", "`std::time::Instant::now`"),
    ("let _ = std::time::SystemTime::now();", "`std::time::SystemTime::now`"),
    ("let _ = std::fs::read(\"x\");", "`std::fs::read`"),
    ("let _ = std::fs::File::open(\"x\");", "`std::fs::File`"),
    ("let _ = std::process::Command::new(\"x\");", "`std::process::Command`"),
    ("std::thread::sleep(std::time::Duration::ZERO);", "`std::thread::sleep`"),
    ("let _ = std::net::TcpStream::connect(\"x\");", "`std::net::TcpStream`"),
    ("let _ = std::env::var(\"x\");", "`std::env::var`"),
    ("let _: std::collections::HashMap<u8, u8> = Default::default();", "`std::collections::HashMap`"),
    ("println!();", "`std::println`"),
];

/// 0 when clippy refuses every sin in each crate.
pub fn main() -> ExitCode {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
    let mut silent = 0;
    for name in CRATES {
        match said(repo, name) {
            Ok(text) => {
                for (sin, says) in SINS.iter().filter(|(_, says)| !text.contains(says)) {
                    eprintln!("lint-bites: {name}: clippy does not mind {sin} (expected {says})");
                    silent += 1;
                }
            }
            Err(error) => {
                eprintln!("lint-bites: {name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    match silent {
        0 => {
            println!("lint-bites: ok");
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// What clippy says of a crate with the same configuration that commits every sin.
fn said(repo: &Path, name: &str) -> io::Result<String> {
    let folder = repo.join("target/lint-bites").join(name);
    fs::create_dir_all(folder.join("src"))?;
    let manifest = "[package]\nname = \"sins\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::copy(repo.join("crates").join(name).join("clippy.toml"), folder.join("clippy.toml"))?;
    let sins: String = SINS.iter().map(|(line, _)| format!("    {line}\n")).collect();
    fs::write(
        folder.join("src/lib.rs"),
        format!("//! Sins.\n\n/// All of them.\npub fn sins() {{\n{sins}}}\n"),
    )?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["clippy", "--offline", "--quiet"]).current_dir(&folder);
    // The configuration beside the manifest counts, as it does for the crate itself.
    command.env_remove("CLIPPY_CONF_DIR").env("CARGO_TARGET_DIR", folder.join("target"));
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
