//! The data: a line of JSON for each run, in the repository. Campaigns only append, one at a time; whoever sets lines aside says so in the
//! report.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lab_wire::{Context, Failure};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::git;
use crate::lab::repository;

/// The runs of the matrix, below the repository.
pub const RUNS: &str = "docs/experiment/runs.jsonl";
/// The measurements of the benchmark.
pub const BENCH: &str = "docs/experiment/bench.jsonl";

/// All lines of a kind that there are.
pub struct Store<T> {
    file: PathBuf,
    lines: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> Store<T> {
    /// Reads what is there, and changes nothing; nothing yet is no error. A last line without its end is one that is being written, or was
    /// torn when the machine went down: it is passed over.
    pub fn open(name: &str) -> Result<Self, Failure> {
        Self::read(repository().join(name))
    }

    fn read(file: PathBuf) -> Result<Self, Failure> {
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.context(|| format!("cannot read {}", file.display()))?,
        };
        let lines = bytes[..whole(&bytes)]
            .split_inclusive(|byte| *byte == b'\n')
            .zip(1..)
            .map(|(line, number)| {
                serde_json::from_slice(line)
                    .context(|| format!("{}, line {number} cannot be understood", file.display()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { file, lines })
    }

    /// What is there.
    pub fn lines(&self) -> &[T] {
        &self.lines
    }

    /// Makes ready to append: whoever else does is refused until this one is dropped, since two would run the same that is missing. What was
    /// added since it was read counts, and a torn last line goes.
    pub fn appending(self) -> Result<Appending<T>, Failure> {
        let path = &self.file;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
        }
        let file = File::options().create(true).append(true).open(path);
        let file = file.context(|| format!("cannot open {}", path.display()))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .context(|| format!("{} is being added to by somebody else", path.display()))?;
        cut(path, &file).context(|| format!("cannot cut {}", path.display()))?;
        Ok(Appending { store: Self::read(self.file)?, file })
    }
}

/// How much of it is lines with an end.
fn whole(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn cut(path: &Path, file: &File) -> io::Result<()> {
    let bytes = fs::read(path)?;
    if whole(&bytes) < bytes.len() {
        eprintln!("experiment: the last line of {} was torn, and goes", path.display());
        file.set_len(whole(&bytes) as u64)?;
    }
    Ok(())
}

/// The same, and more is to come.
pub struct Appending<T> {
    store: Store<T>,
    /// Locked as long as it is open.
    file: File,
}

impl<T: Serialize + DeserializeOwned> Appending<T> {
    /// What is there.
    pub fn lines(&self) -> &[T] {
        self.store.lines()
    }

    /// One more; on disk when this returns. Of one that cannot be written whole nothing stays.
    pub fn add(&mut self, seen: T) -> Result<(), Failure> {
        let mut line = serde_json::to_string(&seen).context(|| "cannot write a line as JSON")?;
        line.push('\n');
        self.append(line.as_bytes()).context(|| format!("cannot append to {}", self.store.file.display()))?;
        self.store.lines.push(seen);
        Ok(())
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.file.set_len(before)?;
        }
        written
    }

    /// No more.
    pub fn done(self) -> Store<T> {
        self.store
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What is checked out; with a `+` where files have been changed since, other than documents and data.
pub fn commit() -> String {
    let repo = repository();
    let head = git::ask(&repo, &["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let changed = git::ask(&repo, &["status", "--porcelain", "--", ".", ":!docs", ":!*.md"]);
    if changed.is_some_and(|changed| changed.is_empty()) { head } else { head + "+" }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, bytes: &[u8]) -> Self {
            let folder = std::env::temp_dir().join(format!("bowline-store-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("data"), bytes).unwrap();
            Self(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join("data")
        }

        fn store(&self) -> Result<Store<String>, Failure> {
            Store::read(self.file())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_torn_line_is_passed_over_by_who_reads_and_goes_when_more_is_added() {
        // Torn in the middle of a letter of two bytes.
        let torn = b"\"one\"\n\"tw\xc3";
        let folder = Folder::with("torn", torn);
        let store = folder.store().unwrap();
        assert_eq!(store.lines(), ["one"]);
        assert_eq!(fs::read(folder.file()).unwrap(), torn, "who reads changes nothing");
        let mut appending = store.appending().unwrap();
        appending.add("two".to_owned()).unwrap();
        assert_eq!(appending.done().lines(), ["one", "two"]);
        assert_eq!(fs::read(folder.file()).unwrap(), b"\"one\"\n\"two\"\n");
    }

    #[test]
    fn one_at_a_time_appends() {
        let folder = Folder::with("twice", b"");
        let mut first = folder.store().unwrap().appending().unwrap();
        let read_before = folder.store().unwrap();
        let refused = folder.store().unwrap().appending().err().unwrap().to_string();
        assert!(refused.contains("somebody else"), "{refused}");
        first.add("one".to_owned()).unwrap();
        drop(first);
        assert_eq!(read_before.appending().unwrap().lines(), ["one"], "what was added meanwhile counts");
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_named() {
        let folder = Folder::with("corrupt", b"\"one\"\n{\n\"three\"\n");
        let why = folder.store().err().unwrap().to_string();
        assert!(why.contains("line 2"), "{why}");
    }

    #[test]
    fn nothing_yet_is_no_error() {
        let folder = Folder::with("nothing", b"");
        fs::remove_file(folder.file()).unwrap();
        assert!(folder.store().unwrap().lines().is_empty());
        assert!(!folder.file().exists());
    }
}
