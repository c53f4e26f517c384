//! The second disk, made for each run: the programs, the cases, the script and the wish.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab_wire::{Context, Failure, Spec, paths};

use super::{binaries, command};

/// A file or folder of this machine that goes along.
#[derive(Clone)]
pub struct Brought {
    /// Where it is.
    pub from: PathBuf,
    /// Where it will be, below the second disk's root.
    pub to: String,
}

/// The script on this machine, and what it is called in the guest.
pub struct Script {
    file: PathBuf,
    /// Its path in the guest.
    pub in_guest: String,
    is_there: bool,
}

impl Script {
    /// A script of `lab/cases` runs where the guest has it, beside what it may source; any other is brought along.
    pub fn locate(repo: &Path, script: &str) -> Result<Self, Failure> {
        let file = fs::canonicalize(script).context(|| format!("there is no script {script}"))?;
        let cases = repo.join("lab/cases");
        let cases = cases.canonicalize().unwrap_or(cases);
        if let Ok(inside) = file.strip_prefix(&cases) {
            let in_guest = Path::new(paths::CASES).join(inside).display().to_string();
            return Ok(Self { file, in_guest, is_there: true });
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let in_guest = format!("{}/{}/{name}", paths::PAYLOAD, paths::PAYLOAD_SCRIPT);
        Ok(Self { file, in_guest, is_there: false })
    }

    /// One of the programs that the guest has anyway.
    pub fn program(name: &str) -> Self {
        Self { file: PathBuf::new(), in_guest: format!("/usr/local/bin/{name}"), is_there: true }
    }
}

/// Makes the disk in `folder`.
pub fn make(
    repo: &Path,
    folder: &Path,
    programs: &[PathBuf],
    script: &Script,
    brought: &[Brought],
    spec: &Spec,
) -> Result<PathBuf, Failure> {
    let tree = folder.join("payload");
    let bin = tree.join(paths::PAYLOAD_BIN);
    make_folder(&bin)?;
    for program in programs {
        binaries::install(program, &bin)?;
    }
    copy_any(&repo.join("lab/cases"), &tree.join(paths::PAYLOAD_CASES))?;
    if !script.is_there {
        let place = tree.join(paths::PAYLOAD_SCRIPT);
        make_folder(&place)?;
        copy_executable(&script.file, &place.join(script.file.file_name().unwrap_or_default()))?;
    }
    for Brought { from, to } in brought {
        let to = tree.join(to);
        make_folder(to.parent().unwrap_or(&tree))?;
        copy_any(from, &to)?;
    }
    let wish = serde_json::to_vec(spec).context(|| "cannot write the wish as JSON")?;
    fs::write(tree.join(paths::PAYLOAD_SPEC), wish).context(|| "cannot write the wish")?;

    let disk = folder.join("payload.img");
    let size = format!("{}K", size_of_tree(&tree) / 1024 * 5 / 4 + 4096);
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d"]);
    command::run(mke2fs.arg(&tree).arg(&disk).arg(size)).context(|| "cannot make the second disk")?;
    Ok(disk)
}

/// Copies a file, or a folder with all that is in it; every file can be executed.
fn copy_any(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.is_dir() {
        return copy_executable(from, to);
    }
    make_folder(to)?;
    let mut entries = fs::read_dir(from).context(|| format!("cannot read {}", from.display()))?.flatten();
    entries.try_for_each(|entry| copy_any(&entry.path(), &to.join(entry.file_name())))
}

fn copy_executable(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .context(|| format!("cannot make {} executable", to.display()))
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).context(|| format!("cannot make {}", path.display()))
}

fn size_of_tree(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of_tree(&entry.path()) + 4096,
            Ok(meta) => meta.len().next_multiple_of(4096),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_runs_from_its_folder_and_another_script_is_brought_along() {
        let repo = crate::lab::repository();
        let case = Script::locate(&repo, &repo.join("lab/cases/smoke.sh").display().to_string()).unwrap();
        assert_eq!(case.in_guest, "/lab/smoke.sh");
        let other = Script::locate(&repo, &repo.join("Cargo.toml").display().to_string()).unwrap();
        assert_eq!(other.in_guest, "/opt/lab/script/Cargo.toml");
        assert!(Script::locate(&repo, "no-such-script").is_err());
    }
}
