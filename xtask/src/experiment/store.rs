//! The data: a line of JSON for each run, in the repository. Campaigns only append; whoever sets lines aside says so in the report.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lab_wire::{Context, Failure};
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
    /// Reads what is there; nothing yet is no error. A last line without its end was torn when the machine went down, and goes.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let file = repository().join(name);
        let mut text = if file.exists() {
            fs::read_to_string(&file).context(|| format!("cannot read {}", file.display()))?
        } else {
            String::new()
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            eprintln!("experiment: the last line of {} was torn, and goes", file.display());
            text.truncate(whole);
            let cut = File::options().write(true).open(&file).and_then(|cut| cut.set_len(whole as u64));
            cut.context(|| format!("cannot cut {}", file.display()))?;
        }
        let lines = text
            .lines()
            .zip(1..)
            .map(|(line, number)| {
                serde_json::from_str(line)
                    .context(|| format!("{}, line {number} cannot be understood", file.display()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { file, lines })
    }

    /// What is there.
    pub fn lines(&self) -> &[T] {
        &self.lines
    }

    /// One more; on disk when this returns.
    pub fn add(&mut self, seen: T) -> Result<(), Failure> {
        let mut line = serde_json::to_string(&seen).context(|| "cannot write a line as JSON")?;
        line.push('\n');
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
        }
        let file = File::options().create(true).append(true).open(&self.file);
        let written = file.and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_data()
        });
        written.context(|| format!("cannot append to {}", self.file.display()))?;
        self.lines.push(seen);
        Ok(())
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
