//! What the result of a case depends on: what runs in the guest, the guest, who runs it, and the case itself; not the other cases,
//! not the documents. As long as that is the same, a case that has passed need not run again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

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

/// The files that count, as they are in the working tree.
#[derive(Debug)]
pub struct Sources {
    /// By path, as `git ls-tree` has them or would once they are committed: mode, kind and hash.
    files: BTreeMap<String, String>,
}

impl Sources {
    /// Of what is there; nothing where git cannot tell.
    pub fn read(repo: &Path) -> Option<Self> {
        let with = |arguments: &[&'static str]| git::ask(repo, &[arguments, &["--"], &COUNT].concat());
        let tree = with(&["ls-tree", "-r", "HEAD"])?;
        let files = tree.lines().filter_map(|line| line.split_once('\t'));
        let mut files: BTreeMap<String, String> =
            files.map(|(hash, path)| (path.to_owned(), hash.to_owned())).collect();
        let status = with(&["status", "--porcelain", "--untracked-files=all", "--no-renames"])?;
        // The first line has lost the space it may begin with.
        let changed = status.lines().filter_map(|line| line.trim().split_once(' '));
        for path in changed.map(|(_, path)| path.trim()) {
            match blob(repo, path) {
                Some(blob) => files.insert(path.to_owned(), blob),
                None => files.remove(path),
            };
        }
        Some(Self { files })
    }

    /// Of one case.
    pub fn of(&self, case: &str) -> String {
        let mut hasher = Sha256::new();
        for (path, hash) in self.files.iter().filter(|(path, _)| counts(path, case)) {
            hasher.update(format!("{hash}\t{path}\n"));
        }
        hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What git would have of a file of the working tree; nothing where there is none.
fn blob(repo: &Path, path: &str) -> Option<String> {
    let mode = fs::metadata(repo.join(path)).ok()?.permissions().mode();
    let mode = if mode & 0o100 == 0 { "100644" } else { "100755" };
    Some(format!("{mode} blob {}", git::ask(repo, &["hash-object", "--", path])?))
}

/// Whether a file counts for a case: each but the other cases, and but the crates' tests, which no program in the guest has.
fn counts(path: &str, case: &str) -> bool {
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    if path.starts_with("crates/") && is_test {
        return false;
    }
    let own = || path.strip_prefix("lab/cases/").and_then(|file| file.strip_suffix(".sh"));
    own().is_none_or(|name| name == case || name == "lib" || name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        Sources { files: files.iter().map(|(hash, path)| ((*path).to_owned(), (*hash).to_owned())).collect() }
    }

    #[test]
    fn another_case_does_not_count_and_all_else_does() {
        let files =
            [("1", "crates/bowline/src/run.rs"), ("2", "lab/cases/smoke.sh"), ("3", "lab/cases/lib.sh")];
        let smoke = sources(&files).of("smoke");
        for other in [
            "lab/cases/loss.sh",
            "crates/bowline/src/plan/tests/flush.rs",
            "crates/bowline-host/src/scsi/scsi_tests.rs",
        ] {
            assert_eq!(sources(&[&files[..], &[("4", other)]].concat()).of("smoke"), smoke, "{other}");
        }
        for more in ["lab/cases/runner/each.sh", "lab/image/x"] {
            assert_ne!(sources(&[&files[..], &[("4", more)]].concat()).of("smoke"), smoke, "{more}");
        }
        for n in 0..files.len() {
            let mut changed = files;
            changed[n].0 = "9";
            assert_ne!(sources(&changed).of("smoke"), smoke);
        }
    }

    /// A file that is not committed yet counts as it will then.
    #[test]
    fn a_file_is_what_git_will_have_of_it() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let path = "lab/cases/smoke.sh";
        let blob = blob(repo, path).unwrap();
        let content = git::ask(repo, &["hash-object", path]).unwrap();
        assert!(blob.starts_with("100") && blob.ends_with(&format!(" blob {content}")), "{blob}");
        assert_eq!(super::blob(repo, "lab/cases/there-is-none.sh"), None);
    }

    #[test]
    fn every_place_is_there() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sources = Sources::read(repo).unwrap();
        for place in COUNT {
            assert!(sources.files.keys().any(|path| path.starts_with(place)), "{place}");
        }
    }
}
