//! `cargo xtask proof`: the table from requirement to what proves it: the cases that passed on the real kernel, and the
//! unit tests beside them. A requirement without a case that passed is not proved.
//!
//! A test names what it proves itself (see [`sources`]); a case of the laboratory does in its header. This only joins
//! the two with what ran, so the table cannot claim what nothing proves.

mod ids;
mod kernel;
mod results;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use self::kernel::Kernel;
use self::results::Results;
use self::sources::Named;

/// Which results
#[derive(Args)]
pub struct ProofArgs {
    /// Run no tests: use the results of the last run
    #[arg(long)]
    no_run: bool,
    /// Fail also where a long case, or one on Debian 13 or with tgt, has not passed with the sources that are there now (`make soak`)
    #[arg(long)]
    soak: bool,
}

/// Where everything stands, below the repository.
const FOLDER: &str = "target/proof";
/// Where tests are.
const SOURCES: [&str; 3] = ["crates", "lab", "xtask"];

/// 0 when every claimed requirement has a case that passed on the real kernel, and no case and no test failed, else 1.
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
    let kernel = Kernel::read(&repo).map_err(|failure| failure.to_string())?;
    let proofs = Proofs::join(&named, &results, kernel);
    let failed: Vec<&String> = results.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name).collect();
    let table = proofs.table();
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
    for id in &missing {
        eprintln!("proof: {id} is not proved on the real kernel: {}", proofs.kernel.why_not(id));
    }
    for case in &proofs.kernel.failed {
        eprintln!("proof: case {case} failed on the real kernel");
    }
    if !proofs.kernel.ran {
        eprintln!("proof: the laboratory has not run here; it does by  cargo xtask lab cases");
    }
    let soaked = !args.soak || proofs.kernel.whole;
    if !soaked {
        eprintln!(
            "proof: not every campaign of `make soak` has passed with these sources; it goes on by  cargo xtask lab soak --resume"
        );
    }
    Ok(failed.is_empty() && missing.is_empty() && proofs.kernel.failed.is_empty() && soaked)
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

/// Requirement to what proves it.
#[derive(Debug, Default)]
struct Proofs {
    tests: BTreeMap<String, BTreeSet<String>>,
    kernel: Kernel,
}

impl Proofs {
    fn join(named: &Named, results: &Results, kernel: Kernel) -> Self {
        let mut proofs = Self { kernel, ..Self::default() };
        for (test, ids) in named.iter().filter(|(test, _)| results.get(*test) == Some(&true)) {
            for id in ids {
                proofs.tests.entry(id.clone()).or_default().insert(test.clone());
            }
        }
        proofs
    }

    fn missing(&self) -> Vec<&'static str> {
        let unproved = |id: &&str| self.kernel.passed(id).next().is_none();
        ids::CLAIMED.iter().map(|(id, _)| *id).filter(unproved).collect()
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| id | it says | proved by | cases that passed | unit tests that passed |\n|---|---|---|---|---|\n",
        );
        for (id, says) in ids::CLAIMED {
            let cases: Vec<_> = self.kernel.passed(id).collect();
            let by = match cases.as_slice() {
                [] => "**nothing**",
                cases if cases.iter().all(|case| case.soak) => "`make soak`",
                _ => "`make test`",
            };
            let mark = |soak| if soak { " (soak)" } else { "" };
            let cases = cases.iter().map(|case| format!("`{}`{}", case.name, mark(case.soak)));
            let tests = self.tests.get(*id).into_iter().flatten().map(|name| format!("`{name}`"));
            let [cases, tests] = [cases.collect::<Vec<_>>(), tests.collect()].map(|names| names.join("<br>"));
            writeln!(text, "| {id} | {says} | {by} | {cases} | {tests} |").expect("a string takes all");
        }
        let (claimed, missing) = (ids::CLAIMED.len(), self.missing().len());
        writeln!(text, "\n{} of {claimed} proved on the real kernel.", claimed - missing).expect("as above");
        text += &self.kernel.elsewhere.join("");
        let is_claimed = |id: &&String| ids::CLAIMED.iter().any(|(claimed, _)| claimed == id);
        let beyond: BTreeSet<&String> =
            self.tests.keys().chain(self.kernel.ids()).filter(|id| !is_claimed(id)).collect();
        if !beyond.is_empty() {
            let beyond: Vec<&str> = beyond.into_iter().map(String::as_str).collect();
            writeln!(text, "Begun, and not claimed yet: {}.", beyond.join(", ")).expect("as above");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::kernel::RealCase;
    use super::*;
    use crate::lab;

    fn case(name: &str, soak: bool, passed: Option<bool>) -> RealCase {
        RealCase { name: name.into(), proves: vec!["C3".into()], soak, passed, older: false }
    }

    fn proofs(cases: Vec<RealCase>) -> Proofs {
        let named: Named = [("c3_x".to_owned(), ["C3".to_owned()].into())].into();
        let results: Results = [("c3_x".to_owned(), true)].into();
        Proofs::join(&named, &results, Kernel { cases, ran: true, ..Kernel::default() })
    }

    #[test]
    fn a_requirement_is_proved_only_by_a_case_that_passed() {
        assert!(!proofs(vec![case("map", false, Some(true))]).missing().contains(&"C3"));
        for unproved in [vec![], vec![case("map", false, Some(false))], vec![case("map", false, None)]] {
            assert!(proofs(unproved).missing().contains(&"C3"));
        }
    }

    #[test]
    fn the_table_says_what_proves_it() {
        let line = |cases| {
            let table = proofs(cases).table();
            table.lines().find(|line| line.starts_with("| C3 ")).map(str::to_owned).unwrap()
        };
        let says =
            |by: &str, cases: &str| format!("| C3 | one good path makes a map | {by} | {cases} | `c3_x` |");
        let (short, long) = (case("map", false, Some(true)), case("maps", true, Some(true)));
        assert_eq!(line(vec![short, long]), says("`make test`", "`map`<br>`maps` (soak)"));
        assert_eq!(line(vec![case("maps", true, Some(true))]), says("`make soak`", "`maps` (soak)"));
        assert_eq!(line(vec![case("map", false, Some(false))]), says("**nothing**", ""));
    }

    #[test]
    fn a_test_that_failed_is_not_shown() {
        let named: Named = [("c1_x".to_owned(), ["C1".to_owned()].into())].into();
        let proofs = |results: Results| Proofs::join(&named, &results, Kernel::default());
        assert!(proofs([("c1_x".to_owned(), true)].into()).table().contains("`c1_x`"));
        assert!(!proofs([("c1_x".to_owned(), false)].into()).table().contains("`c1_x`"));
        assert!(!proofs(Results::new()).table().contains("`c1_x`"));
    }

    #[test]
    fn make_test_alone_can_prove_every_claimed_id() {
        let cases = lab::all_cases().unwrap();
        for (id, _) in ids::CLAIMED {
            let proves = |case: &&lab::Case| !case.soak && case.proves.iter().any(|proved| proved == id);
            assert!(cases.iter().find(proves).is_some(), "no case that does not soak proves {id}");
        }
    }

    #[test]
    fn every_claimed_id_stands_once_and_is_described() {
        let ids: BTreeSet<&str> = ids::CLAIMED.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), ids::CLAIMED.len());
        assert!(ids::CLAIMED.iter().all(|(_, says)| (3..=8).contains(&says.split_whitespace().count())));
    }
}
