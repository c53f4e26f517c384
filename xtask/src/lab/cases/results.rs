//! How the cases of a run ended, for `cargo xtask proof`: written after each of them, so that a run that was cut short can
//! be taken up again.

use std::fs;
use std::path::{Path, PathBuf};

use lab_wire::{Context, Failure};
use serde::{Deserialize, Serialize};

use crate::git;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub case: String,
    /// The requirements it proves.
    pub proves: Vec<String>,
    /// Whether all that it shows was so.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
    /// The commit that was checked out; none where files had been changed since.
    #[serde(default)]
    pub commit: Option<String>,
}

/// The results of a run.
pub struct Results {
    /// None: some of the cases are no proof of the whole, so nothing is written.
    file: Option<PathBuf>,
    commit: Option<String>,
    lines: Vec<Line>,
}

impl Results {
    /// Begins anew; or, to resume, with the cases that have passed at this very commit.
    pub fn begin(repo: &Path, file: Option<PathBuf>, resume: bool) -> Result<Self, Failure> {
        let commit = commit(repo);
        let before = match &file {
            Some(file) if resume => read(file)?.unwrap_or_default(),
            _ => Vec::new(),
        };
        let lines = still_true(before, commit.as_deref());
        let results = Self { file, commit, lines };
        results.write()?;
        Ok(results)
    }

    /// Whether the case need not run again.
    pub fn has(&self, case: &str) -> bool {
        self.lines.iter().any(|line| line.case == case)
    }

    /// One more.
    pub fn add(&mut self, case: &str, proves: &[String], passed: bool, seconds: f64) -> Result<(), Failure> {
        let (case, proves, commit) = (case.to_owned(), proves.to_vec(), self.commit.clone());
        self.lines.push(Line { case, proves, passed, seconds, commit });
        self.lines.sort_by(|a, b| a.case.cmp(&b.case));
        self.write()
    }

    /// How many passed.
    pub fn passed(&self) -> usize {
        self.lines.iter().filter(|line| line.passed).count()
    }

    fn write(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let text =
            serde_json::to_string_pretty(&self.lines).context(|| "cannot write the results as JSON")?;
        fs::write(file, text + "\n").context(|| format!("cannot write {}", file.display()))
    }
}

/// The results of a run; `None` when there was none.
pub fn read(file: &Path) -> Result<Option<Vec<Line>>, Failure> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .context(|| format!("{} is not what the cases' runner writes", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot read {}", file.display())),
    }
}

/// What is checked out, if no file differs from it.
fn commit(repo: &Path) -> Option<String> {
    match git::ask(repo, &["status", "--porcelain"])?.is_empty() {
        true => git::head(repo),
        false => None,
    }
}

fn still_true(lines: Vec<Line>, commit: Option<&str>) -> Vec<Line> {
    let is = |line: &Line| line.passed && commit.is_some() && line.commit.as_deref() == commit;
    lines.into_iter().filter(is).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passed_at_this_commit_is_not_run_again() {
        let line = |case: &str, passed, commit: Option<&str>| Line {
            case: case.into(),
            proves: vec![],
            passed,
            seconds: 1.0,
            commit: commit.map(str::to_owned),
        };
        let lines = || {
            vec![
                line("good", true, Some("c0ffee")),
                line("failed", false, Some("c0ffee")),
                line("older", true, Some("beef")),
                line("changed", true, None),
            ]
        };
        let kept = still_true(lines(), Some("c0ffee"));
        assert_eq!(kept.iter().map(|line| line.case.as_str()).collect::<Vec<_>>(), ["good"]);
        assert!(still_true(lines(), None).is_empty());
    }
}
