//! Small files that survive a crash: the journal and the claims.
//!
//! A file is written to a temporary name, synced, renamed, and its directory synced, so that a reader finds
//! the old content or the new one and a power cut cannot bring the old one back. A temporary file left by a
//! crash begins with a dot, which no name of a state file does: it is never listed, and the next write of the
//! same name replaces it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bowline_host::HostError;

use crate::private_dir;

/// State files are a few kilobytes; more is not one of ours.
const MOST: u64 = 16 << 20;

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
            let mut bytes = Vec::new();
            File::open(&path)?.take(MOST).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        absent_is_none(read()).map_err(|error| HostError::io("read", path.display().to_string(), error))
    }

    /// Writes a file whole (0600), durably.
    pub(crate) fn store(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        let (folder, file) = self.resolve(name)?;
        private_dir::ensure(&self.root)?;
        let is_new = !private_dir::check(&folder)?;
        private_dir::ensure(&folder)?;
        let path = folder.join(file);
        let temporary = folder.join(format!(".{file}.new"));
        let write = || -> io::Result<()> {
            if is_new {
                // A folder whose own name is not durable would take the file with it.
                sync_directory(&self.root)?;
            }
            write_synced(&temporary, bytes)?;
            fs::rename(&temporary, &path)?;
            sync_directory(&folder)
        };
        write().map_err(|error| HostError::io("write", path.display().to_string(), error))
    }

    /// Removes a file, durably. An absent one is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), HostError> {
        let (folder, file) = self.resolve(name)?;
        if !private_dir::check(&self.root)? {
            return Ok(());
        }
        let path = folder.join(file);
        let remove = || match absent_is_none(fs::remove_file(&path))? {
            Some(()) => sync_directory(&folder),
            None => Ok(()),
        };
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

/// Accepts one path component that is no hidden file, so neither `..` nor a temporary file of ours.
fn check_component(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("a part of the name is empty"),
        _ if name.starts_with('.') => Err("no part may begin with a dot"),
        _ if name.contains(['/', '\0']) => Err("no part may contain a slash or a NUL"),
        // 255 bytes are what Linux file systems allow; the temporary name adds five.
        _ if name.len() > 250 => Err("no part may be longer than 250 bytes"),
        _ => Ok(()),
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a file anew with mode 0600, writes it and syncs it. One that a crash left behind is removed first:
/// its content and its mode are not to be trusted.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    absent_is_none(fs::remove_file(path))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
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
