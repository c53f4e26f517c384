//! The volumes themselves, whoever offers them: sparse files, in memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lab_wire::{Context, Failure};

use crate::layout::STATE;

const FILES: &str = "/run/volumes";
/// Begins the name of a file that says that a volume has a cache.
const CACHE: &str = "cache-";
/// The file that says that all volumes are write-protected.
const PROTECTED: &str = "write-protected";

/// What a volume is called on the target.
pub fn name(volume: u16) -> String {
    format!("vol{volume}")
}

/// A volume's file.
pub fn file(volume: u16) -> PathBuf {
    Path::new(FILES).join(name(volume))
}

/// Gives a volume its size; makes it if there is none.
pub fn set_size(volume: u16, size: u64) -> Result<(), Failure> {
    let path = file(volume);
    fs::create_dir_all(FILES).context(|| format!("cannot make {FILES}"))?;
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.and_then(|file| file.set_len(size)).context(|| format!("cannot give {} its size", path.display()))
}

/// Writes down that a volume has a write-back cache, or none.
pub fn remember_cache(volume: u16, on: bool) -> Result<(), Failure> {
    remember(&format!("{CACHE}{volume}"), on)
}

/// Writes down that the volumes are write-protected, or not.
pub fn remember_protection(on: bool) -> Result<(), Failure> {
    remember(PROTECTED, on)
}

/// Whether they are, as was written down.
pub fn are_protected() -> bool {
    Path::new(STATE).join(PROTECTED).exists()
}

fn remember(what: &str, on: bool) -> Result<(), Failure> {
    let file = Path::new(STATE).join(what);
    let done = match on {
        true => fs::create_dir_all(STATE).and_then(|()| fs::write(&file, "")),
        false if !file.exists() => Ok(()),
        false => fs::remove_file(&file),
    };
    done.context(|| format!("cannot change {}", file.display()))
}

/// The volumes that have been given a cache.
pub fn with_cache() -> Vec<u16> {
    let entries = fs::read_dir(STATE).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(CACHE)?.parse().ok()).collect()
}
