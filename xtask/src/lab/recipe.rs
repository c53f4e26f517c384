//! The image's recipe: plain files in `lab/image`, and the keys by which what they make is cached.
//!
//! Two keys, because two things are made: the root folder (minutes, from packages) and the boot files
//! (seconds, from the folder). A change of the initrd does not fetch packages again.

use std::fs;
use std::path::{Path, PathBuf};

use lab_wire::{Context, Failure};
use sha2::{Digest, Sha256};

use super::Suite;

/// A suite's recipe, as read.
pub struct Recipe {
    /// Debian's name for the release.
    pub suite: &'static str,
    /// What to install.
    pub packages: Vec<String>,
    /// The script that finishes the root folder.
    pub customize: PathBuf,
    /// The first program of the guest.
    pub init: String,
    /// The kernel modules of the initrd.
    pub modules: Vec<String>,
    customize_text: String,
}

/// What the root disk's file system is made with; part of the recipe because it shows in the guest.
pub const MKE2FS: &[&str] =
    &["-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,root_owner=0:0", "-O", "^has_journal"];
/// The root disk's size; sparse, so it costs what is in it.
pub const DISK_SIZE: &str = "1G";

impl Recipe {
    /// Reads the recipe from `lab/image`.
    pub fn read(repo: &Path, suite: Suite) -> Result<Self, Failure> {
        let suite = suite.name();
        let folder = repo.join("lab/image");
        let read = |name: &str| {
            fs::read_to_string(folder.join(name)).context(|| format!("cannot read lab/image/{name}"))
        };
        Ok(Self {
            suite,
            packages: words(&read("packages")?),
            customize: folder.join("customize.sh"),
            customize_text: read("customize.sh")?,
            init: read("initrd.init")?,
            modules: words(&read("initrd.modules")?),
        })
    }

    /// The key of the root folder.
    pub fn root_key(&self) -> String {
        digest(&[self.suite, &self.packages.join(" "), &self.customize_text])
    }

    /// The key of the boot files.
    pub fn boot_key(&self) -> String {
        let mke2fs = MKE2FS.join(" ");
        digest(&[&self.root_key(), &self.init, &self.modules.join(" "), &mke2fs, DISK_SIZE])
    }
}

/// The words of a list, one a line, without comments.
fn words(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Sixteen hex digits that change when any part does.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_have_comments() {
        assert_eq!(words("# a list\nudev   # events\n\nkmod\n"), ["udev", "kmod"]);
    }

    #[test]
    fn where_one_part_ends_matters() {
        assert_eq!(digest(&["a", "b"]).len(), 16);
        assert_ne!(digest(&["ab", ""]), digest(&["a", "b"]));
    }

    #[test]
    fn the_recipe_in_the_repository_is_readable() {
        let read = |suite| Recipe::read(&crate::lab::repository(), suite).unwrap();
        let recipe = read(Suite::Bookworm);
        assert!(recipe.packages.iter().any(|package| package == "multipath-tools"));
        assert!(recipe.modules.iter().any(|module| module == "virtio_blk"));
        assert_ne!(recipe.root_key(), recipe.boot_key());
        assert_ne!(recipe.root_key(), read(Suite::Trixie).root_key());
    }
}
