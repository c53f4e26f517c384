//! How the cases of a run ended, for `cargo xtask proof`: written after each of them, so that a run that was cut short can
//! be taken up again.

use std::fs;
use std::path::{Path, PathBuf};

use lab_wire::{Context, Failure};
use serde::{Deserialize, Serialize};

use super::sources::Sources;

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
    /// What it depends on (see [`Sources`]); none where git could not tell.
    #[serde(default)]
    pub sources: Option<String>,
}

/// The results of a run.
pub struct Results {
    /// None: some of the cases are no proof of the whole, so nothing is written.
    file: Option<PathBuf>,
    sources: Option<Sources>,
    lines: Vec<Line>,
}

impl Results {
    /// Begins anew; or, to resume, with the cases that have passed with the very same sources.
    pub fn begin(repo: &Path, file: Option<PathBuf>, resume: bool) -> Result<Self, Failure> {
        let sources = Sources::read(repo);
        let before = match &file {
            Some(file) if resume => read(file)?.unwrap_or_default(),
            _ => Vec::new(),
        };
        let lines = still_true(before, &|case| Some(sources.as_ref()?.of(case)));
        let results = Self { file, sources, lines };
        results.write()?;
        Ok(results)
    }

    /// Whether the case need not run again.
    pub fn has(&self, case: &str) -> bool {
        self.lines.iter().any(|line| line.case == case)
    }

    /// One more.
    pub fn add(&mut self, case: &str, proves: &[String], passed: bool, seconds: f64) -> Result<(), Failure> {
        let sources = self.sources.as_ref().map(|sources| sources.of(case));
        let (case, proves) = (case.to_owned(), proves.to_vec());
        self.lines.push(Line { case, proves, passed, seconds, sources });
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
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(file, text + "\n"))
            .context(|| format!("cannot write {}", file.display()))
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

fn still_true(lines: Vec<Line>, now: &dyn Fn(&str) -> Option<String>) -> Vec<Line> {
    let is = |line: &Line| line.passed && line.sources.is_some() && line.sources == now(&line.case);
    lines.into_iter().filter(is).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passed_with_the_same_sources_is_not_run_again() {
        let line = |case: &str, passed, sources: Option<&str>| Line {
            case: case.into(),
            proves: vec![],
            passed,
            seconds: 1.0,
            sources: sources.map(str::to_owned),
        };
        let lines = || {
            vec![
                line("good", true, Some("c0ffee")),
                line("failed", false, Some("c0ffee")),
                line("older", true, Some("beef")),
                line("changed", true, None),
            ]
        };
        let kept = still_true(lines(), &|_| Some("c0ffee".into()));
        assert_eq!(kept.iter().map(|line| line.case.as_str()).collect::<Vec<_>>(), ["good"]);
        assert!(still_true(lines(), &|_| None).is_empty());
    }
}
