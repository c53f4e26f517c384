//! `cargo xtask proof`: the table from requirement to the tests that passed, those on the real kernel marked.
//!
//! A test names what it proves itself (see [`sources`]); a case of the laboratory does in its header. This only joins
//! the two with what ran, so the table cannot claim what nothing proves.

mod ids;
mod results;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use self::results::{LabCase, Results};
use self::sources::Named;

/// Which results
#[derive(Args)]
pub struct ProofArgs {
    /// Run no tests: use the results of the last run
    #[arg(long)]
    no_run: bool,
}

/// Where everything stands, below the repository.
const FOLDER: &str = "target/proof";
/// Where tests are.
const SOURCES: [&str; 3] = ["crates", "lab", "xtask"];

/// 0 when every claimed requirement has a test that passed and no test failed, else 1.
pub fn main(args: &ProofArgs) -> ExitCode {
    match prove(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("proof: {why}");
            ExitCode::FAILURE
        }
    }
}

fn prove(args: &ProofArgs) -> Result<bool, String> {
    let repo =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned();
    let folder = repo.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let output = folder.join("tests.txt");
    if !args.no_run {
        run_tests(&repo, &output)?;
    }
    let text = fs::read_to_string(&output)
        .map_err(|error| format!("{}: {error}; run it without --no-run first", output.display()))?;
    let mut named = Named::new();
    for source in SOURCES {
        sources::read(&repo.join(source), &mut named)
            .map_err(|error| format!("cannot read {source}: {error}"))?;
    }
    let results = results::of_libtest(&text);
    let lab = lab_cases(&folder.join("lab.json"))?;
    let proofs = Proofs::join(&named, &results, lab.as_deref().unwrap_or_default());
    let failed: Vec<&String> = results.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name).collect();
    let table = proofs.table(lab.is_some());
    let file = folder.join("proof.md");
    fs::write(&file, &table).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    print!("{table}");
    if results.is_empty() {
        return Err(format!("{} has no results", output.display()));
    }
    for name in &failed {
        eprintln!("proof: failed: {name}");
    }
    let missing = proofs.missing();
    if !missing.is_empty() {
        eprintln!("proof: no test that passed proves {}", missing.join(", "));
    }
    Ok(failed.is_empty() && missing.is_empty())
}

/// Runs every test of the workspace, and keeps what it prints. Tests that fail are in there.
fn run_tests(repo: &Path, output: &PathBuf) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot run the tests: {error}");
    let file = fs::File::create(output).map_err(cannot)?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--workspace", "--no-fail-fast"]).current_dir(repo);
    let status = command.stdin(Stdio::null()).stdout(file).status().map_err(cannot)?;
    // 101 is cargo's code for tests that failed, and for code that does not compile: the second leaves no results.
    match status.code() {
        Some(0 | 101) => Ok(()),
        _ => Err(format!("cargo test: {status}")),
    }
}

/// The laboratory's results; `None` when it has not run.
fn lab_cases(file: &Path) -> Result<Option<Vec<LabCase>>, String> {
    match fs::read(file) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{}: {error}", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Requirement to what proves it.
#[derive(Debug, Default)]
struct Proofs {
    tests: BTreeMap<String, BTreeSet<String>>,
    kernel: BTreeMap<String, BTreeSet<String>>,
}

impl Proofs {
    fn join(named: &Named, results: &Results, lab: &[LabCase]) -> Self {
        let mut proofs = Self::default();
        for (test, ids) in named.iter().filter(|(test, _)| results.get(*test) == Some(&true)) {
            for id in ids {
                proofs.tests.entry(id.clone()).or_default().insert(test.clone());
            }
        }
        for case in lab.iter().filter(|case| case.passed) {
            for id in &case.proves {
                proofs.kernel.entry(id.clone()).or_default().insert(case.case.clone());
            }
        }
        proofs
    }

    fn proved(&self, id: &str) -> bool {
        self.tests.contains_key(id) || self.kernel.contains_key(id)
    }

    fn missing(&self) -> Vec<&'static str> {
        ids::CLAIMED.iter().map(|(id, _)| *id).filter(|id| !self.proved(id)).collect()
    }

    fn table(&self, lab_ran: bool) -> String {
        let list = |of: &BTreeMap<String, BTreeSet<String>>, id: &str| {
            let names = of.get(id).into_iter().flatten().map(|name| format!("`{name}`"));
            names.collect::<Vec<_>>().join("<br>")
        };
        let mut text = String::from("| id | it says | on | tests that passed |\n|---|---|---|---|\n");
        for (id, says) in ids::CLAIMED {
            let on = match (self.kernel.contains_key(*id), self.tests.contains_key(*id)) {
                (true, _) => "kernel",
                (false, true) => "unit",
                (false, false) => "**nothing**",
            };
            let names = [list(&self.kernel, id), list(&self.tests, id)];
            let names: Vec<String> = names.into_iter().filter(|names| !names.is_empty()).collect();
            writeln!(text, "| {id} | {says} | {on} | {} |", names.join("<br>")).expect("a string takes all");
        }
        let proved = ids::CLAIMED.iter().filter(|(id, _)| self.proved(id)).count();
        let kernel = ids::CLAIMED.iter().filter(|(id, _)| self.kernel.contains_key(*id)).count();
        let claimed = ids::CLAIMED.len();
        writeln!(text, "\n{proved} of {claimed} proved, {kernel} of them on the real kernel.")
            .expect("as above");
        if !lab_ran {
            text.push_str("The laboratory has not run: cargo xtask lab cases\n");
        }
        let is_claimed = |id: &&String| ids::CLAIMED.iter().any(|(claimed, _)| claimed == id);
        let beyond: BTreeSet<&String> =
            self.tests.keys().chain(self.kernel.keys()).filter(|id| !is_claimed(id)).collect();
        if !beyond.is_empty() {
            let beyond: Vec<&str> = beyond.into_iter().map(String::as_str).collect();
            writeln!(text, "Begun, and not claimed yet: {}.", beyond.join(", ")).expect("as above");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(test: &str, id: &str) -> Named {
        [(test.to_owned(), [id.to_owned()].into())].into()
    }

    #[test]
    fn a_requirement_is_proved_only_by_what_ran_and_passed() {
        let proved = |results: Results| Proofs::join(&named("c1_x", "C1"), &results, &[]).proved("C1");
        assert!(proved([("c1_x".to_owned(), true)].into()));
        assert!(!proved([("c1_x".to_owned(), false)].into()));
        assert!(!proved(Results::new()));
    }

    #[test]
    fn the_kernel_is_marked_and_what_is_missing_is_named() {
        let case = |passed| LabCase { case: "four-portals".into(), proves: vec!["C3".into()], passed };
        let proofs = Proofs::join(&Named::new(), &Results::new(), &[case(true)]);
        let table = proofs.table(true);
        assert!(table.contains("| C3 | one good path makes a map | kernel | `four-portals` |"), "{table}");
        assert!(
            table.contains("| C1 | a failed connect leaves nothing behind | **nothing** |  |"),
            "{table}"
        );
        assert!(!proofs.missing().contains(&"C3") && proofs.missing().contains(&"C1"));
        let failed = Proofs::join(&Named::new(), &Results::new(), &[case(false)]);
        assert!(failed.missing().contains(&"C3"));
    }

    #[test]
    fn every_claimed_id_stands_once_and_is_described() {
        let ids: BTreeSet<&str> = ids::CLAIMED.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), ids::CLAIMED.len());
        assert!(ids::CLAIMED.iter().all(|(_, says)| (3..=8).contains(&says.split_whitespace().count())));
    }
}
