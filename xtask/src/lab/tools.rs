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

/// Installs what is missing, if we may; otherwise says the one command that does.
pub fn ensure(tools: &[Tool]) -> Result<(), Stop> {
    let missing = || -> Vec<&str> {
        tools.iter().filter(|(program, _)| !present(program)).map(|(_, package)| *package).collect()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let advice = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if rustix::process::geteuid().is_root() && present("apt-get") {
        eprintln!("lab: installing {}", packages.join(" "));
        // The lists may be old or absent; a failed update is not yet a failed install.
        let _ = Command::new("apt-get").arg("update").output();
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "--no-install-recommends"]).args(&packages);
        command::run(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    if missing().is_empty() {
        return Ok(());
    }
    Err(Stop::Lacking(format!("this machine lacks what the laboratory needs. Run:  sudo {advice}")))
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
