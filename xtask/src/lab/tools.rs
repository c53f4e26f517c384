//! The programs that a run needs on this machine, and the packages that they come in.

use std::env;
use std::path::Path;
use std::process::Command;

use super::{Stop, command};

/// A program, and the Debian package it comes in.
pub type Tool = (&'static str, &'static str);

/// Needed at every run.
pub const RUN: &[Tool] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mke2fs", "e2fsprogs"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
];

/// Needed when the image has to be built.
pub const BUILD: &[Tool] =
    &[("mmdebstrap", "mmdebstrap"), ("cpio", "cpio"), ("mke2fs", "e2fsprogs"), ("xz", "xz-utils")];

/// Installing a package may take another away: Debian 12's qemu-system-x86 does so with a qemu-utils of backports.
const ROUNDS: usize = 3;

/// Installs what is missing, if we may; otherwise says the one command that does.
pub fn ensure(tools: &[Tool]) -> Result<(), Stop> {
    let missing = || -> Vec<&str> {
        tools.iter().filter(|(program, _)| !present(program)).map(|(_, package)| *package).collect()
    };
    for _ in 0..ROUNDS {
        let packages = missing();
        if packages.is_empty() {
            return Ok(());
        }
        if !rustix::process::geteuid().is_root() || !present("apt-get") {
            break;
        }
        install(&packages)?;
    }
    match missing().join(" ") {
        packages if packages.is_empty() => Ok(()),
        packages => Err(Stop::Lacking(format!(
            "this machine lacks what the laboratory needs. Run:  sudo apt-get install --no-install-recommends {packages}"
        ))),
    }
}

fn install(packages: &[&str]) -> Result<(), Stop> {
    eprintln!("lab: installing {}", packages.join(" "));
    // The lists may be old or absent; a failed update is not yet a failed install.
    let _ = apt_get(&["update"]).output();
    Ok(command::run(apt_get(&["install", "-y", "--no-install-recommends"]).args(packages))?)
}

/// Two of them may run at once on one machine, so each waits for the other.
fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command
}

/// Whether the program is on the path, or where only root's path leads.
fn present(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).any(|file| is_file(&file))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file())
}
