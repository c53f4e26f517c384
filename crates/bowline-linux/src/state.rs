//! Small files that survive a crash: the journal and the claims.
//!
//! A temporary file left by a crash begins with a dot, which no name of a state file does, so it is never taken
//! for one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bowline_host::HostError;

use crate::private_dir;
use crate::replace::{absent_is_none, remove_leftovers, replace, sync_directory};

/// State files are a few kilobytes; more is not one of ours.
const MOST: u64 = 16 << 20;

/// What most of them fit into, so that one read has them.
const USUAL: usize = 4096;

/// The state files below one directory.
#[derive(Debug)]
pub(crate) struct State {
    root: PathBuf,
}

impl State {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads a file; `None` when there is none.
    pub(crate) fn load(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        let (folder, file) = self.resolve(name)?;
        if !private_dir::check(&self.root)? {
            return Ok(None);
        }
        let path = folder.join(file);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::with_capacity(USUAL);
            File::open(&path)?.take(MOST).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        absent_is_none(read()).map_err(|error| HostError::io("read", path.display().to_string(), error))
    }

    /// Writes a file whole (0600), durably.
    pub(crate) fn store(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        let (folder, file) = self.resolve(name)?;
        let path = folder.join(file);
        ensure_durable(&self.root)?;
        ensure_durable(&folder)?;
        replace(&folder, &path, bytes)
            .map_err(|error| HostError::io("write", path.display().to_string(), error))
    }

    /// Removes a file, durably, and what processes that died in a write have left, in whichever folder: the last one to come may
    /// only remove this file. An absent one is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), HostError> {
        let (folder, file) = self.resolve(name)?;
        if !private_dir::check(&self.root)? {
            return Ok(());
        }
        let path = folder.join(file);
        let remove = || absent_is_none(fs::remove_file(&path))?.map_or(Ok(()), |()| sync_directory(&folder));
        for folder in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            // What cannot be tidied up now stays for the next one.
            if folder.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = remove_leftovers(&folder.path());
            }
        }
        remove().map_err(|error| HostError::io("remove", path.display().to_string(), error))
    }

    /// The files of a folder, sorted.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, HostError> {
        check_component(folder).map_err(|why| HostError::unavailable("list state", folder, why))?;
        if !private_dir::check(&self.root)? {
            return Ok(Vec::new());
        }
        let path = self.root.join(folder);
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                // A name of ours is UTF-8, so another one is none of ours.
                names.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
            }
            names.sort();
            Ok(names)
        };
        let names = absent_is_none(list())
            .map_err(|error| HostError::io("list", path.display().to_string(), error))?;
        Ok(names.unwrap_or_default())
    }

    /// The folder and the file a name means.
    fn resolve<'a>(&self, name: &'a str) -> Result<(PathBuf, &'a str), HostError> {
        let refuse = |why: &str| HostError::unavailable("use state file", name, why);
        let (folder, file) = name.split_once('/').ok_or_else(|| refuse("expected FOLDER/FILE"))?;
        check_component(folder).and_then(|()| check_component(file)).map_err(refuse)?;
        Ok((self.root.join(folder), file))
    }
}

/// Makes a directory whose own name is as durable as what is put into it.
fn ensure_durable(dir: &Path) -> Result<(), HostError> {
    if private_dir::check(dir)? {
        return Ok(());
    }
    private_dir::ensure(dir)?;
    dir.parent()
        .map_or(Ok(()), sync_directory)
        .map_err(|error| HostError::io("sync", dir.display().to_string(), error))
}

/// Accepts one path component that is no hidden file, so neither `..` nor a temporary file of ours.
fn check_component(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("a part of the name is empty"),
        _ if name.starts_with('.') => Err("no part may begin with a dot"),
        _ if name.contains(['/', '\0']) => Err("no part may contain a slash or a NUL"),
        _ if name.len() > 255 => Err("no part may be longer than 255 bytes"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let state = State::new("/nowhere".into());
        for name in ["plain", "a/b/c", "../x", "a/..", "a/.x", "/a", "a/", "", "a/b\0", ".a/b"] {
            assert!(state.load(name).is_err(), "{name:?}");
            assert!(state.store(name, b"").is_err(), "{name:?}");
        }
        assert_eq!(state.load("a/b").unwrap(), None);
        assert!(state.list("..").is_err());
    }
}
