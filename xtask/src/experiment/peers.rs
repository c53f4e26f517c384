//! Those that bowline is compared with, each in a folder of its own: installed by pip for the guest's Python, in exactly
//! the versions that are written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab_wire::Context;
use sha2::{Digest, Sha256};

use crate::lab::{Brought, Stop, command, tools};

/// The guest's Python (Debian 12), and what its C library can load.
const FOR_GUEST: &[&str] = &[
    "--python-version=3.11",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--implementation=cp",
    "--no-deps",
    "--no-compile",
    "--quiet",
    "--root-user-action=ignore",
];
/// The folders of `lab/experiment/peers`.
const RELEASES: &[&str] = &["os-brick", "os-brick-1.12"];
/// os-brick's driver.
pub const CONTENDER: &str = "lab/experiment/os_brick_contender.py";

/// Installs what is not there yet, and says what goes along into a guest.
pub fn ready(repo: &Path) -> Result<Vec<Brought>, Stop> {
    let mut brought =
        vec![Brought { from: repo.join(CONTENDER), to: "peers/os_brick_contender.py".to_owned() }];
    for release in RELEASES {
        let from = installed(repo, release)?;
        brought.push(Brought { from, to: format!("peers/{release}") });
    }
    Ok(brought)
}

/// The folder of a release, cached under the hash of its list.
fn installed(repo: &Path, release: &str) -> Result<PathBuf, Stop> {
    let list = repo.join(format!("lab/experiment/peers/{release}.txt"));
    let text = fs::read(&list).context(|| format!("cannot read {}", list.display()))?;
    let key: String = Sha256::digest(&text)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = repo.join(format!(".lab/peer-{release}-{key}"));
    if folder.exists() {
        return Ok(folder);
    }
    tools::ensure(&[("pip3", "python3-pip")])?;
    eprintln!("experiment: installing {release} (once)");
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).context(|| format!("cannot remove {}", part.display()))?;
    }
    let mut pip = Command::new("pip3");
    pip.arg("install").args(FOR_GUEST).arg("--target").arg(&part).arg("--requirement").arg(&list);
    command::run(&mut pip).context(|| format!("cannot install {release}"))?;
    fs::rename(&part, &folder).context(|| format!("cannot name {}", folder.display()))?;
    Ok(folder)
}
