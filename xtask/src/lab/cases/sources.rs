//! What the result of a case depends on: what runs in the guest, the guest, who runs it, and the case itself; not the other cases,
//! not the documents. As long as that is the same, a case that has passed need not run again.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use crate::git;

/// Where it is.
const COUNT: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "crates/bowline",
    "crates/bowline-cli",
    "crates/bowline-host",
    "crates/bowline-linux",
    "lab/guest",
    "lab/image",
    "lab/cases",
    "xtask/src/lab",
];

/// The files that count, as git has them.
#[derive(Debug)]
pub struct Sources {
    /// A line each of `git ls-tree`: mode, kind and hash, and the path.
    files: Vec<(String, String)>,
    /// The paths that differ from that.
    changed: Vec<String>,
}

impl Sources {
    /// Of what is checked out; nothing where git cannot tell.
    pub fn read(repo: &Path) -> Option<Self> {
        let with = |arguments: &[&'static str]| git::ask(repo, &[arguments, &["--"], &COUNT].concat());
        let tree = with(&["ls-tree", "-r", "HEAD"])?;
        let files = tree.lines().filter_map(|line| line.split_once('\t'));
        let files = files.map(|(hash, path)| (hash.to_owned(), path.to_owned())).collect();
        let status = with(&["status", "--porcelain", "--untracked-files=all", "--no-renames"])?;
        // The first line has lost the space it may begin with.
        let changed = status.lines().filter_map(|line| line.trim().split_once(' '));
        let changed = changed.map(|(_, path)| path.trim().to_owned()).collect();
        Some(Self { files, changed })
    }

    /// Of one case; nothing where one of its files has been changed since the last commit.
    pub fn of(&self, case: &str) -> Option<String> {
        if self.changed.iter().any(|path| counts(path, case)) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        self.files.iter().filter(|(_, path)| counts(path, case)).for_each(|file| file.hash(&mut hasher));
        Some(format!("{:016x}", hasher.finish()))
    }
}

/// Whether a file counts for a case: each but the other cases.
fn counts(path: &str, case: &str) -> bool {
    let own = || path.strip_prefix("lab/cases/").and_then(|file| file.strip_suffix(".sh"));
    own().is_none_or(|name| name == case || name == "lib" || name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(changed: &[&str], files: &[(&str, &str)]) -> Sources {
        let changed = changed.iter().map(|path| (*path).to_owned()).collect();
        let files = files.iter().map(|(hash, path)| ((*hash).to_owned(), (*path).to_owned())).collect();
        Sources { files, changed }
    }

    #[test]
    fn another_case_does_not_count_and_all_else_does() {
        let files =
            [("1", "crates/bowline/src/run.rs"), ("2", "lab/cases/smoke.sh"), ("3", "lab/cases/lib.sh")];
        let smoke = sources(&[], &files).of("smoke");
        assert!(smoke.is_some());
        let other = [&files[..], &[("4", "lab/cases/loss.sh")]].concat();
        assert_eq!(sources(&[], &other).of("smoke"), smoke);
        for n in 0..files.len() {
            let mut changed = files;
            changed[n].0 = "9";
            assert_ne!(sources(&[], &changed).of("smoke"), smoke);
        }
        assert_eq!(sources(&["lab/cases/loss.sh"], &files).of("smoke"), smoke);
        for changed in ["lab/cases/smoke.sh", "lab/cases/lib.sh", "lab/cases/runner/each.sh", "lab/image/x"] {
            assert_eq!(sources(&[changed], &files).of("smoke"), None);
        }
    }

    #[test]
    fn every_place_is_there() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sources = Sources::read(repo).unwrap();
        for place in COUNT {
            assert!(sources.files.iter().any(|(_, path)| path.starts_with(place)), "{place}");
        }
    }
}
