//! `cargo xtask lab cases`: every case of `lab/cases`, those of one shape in one guest after another.
//!
//! A case proves its rules and, since the guest's hand asserts it after each, that nothing is left behind. A run of
//! all of them writes their results for `cargo xtask proof`.

mod group;
mod header;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Args;
use lab_wire::{Context, Failure, Target};
use serde::Serialize;

use self::header::Case;
use super::steps::Steps;
use super::{Ready, Stop, Suite, repository};

/// Where the results are written, for `cargo xtask proof`: `lab.json`; and beside it, in a folder of that name,
/// everything that a case printed. Of a run in another guest than the cases ask for, the name has the guest's.
const RESULTS: &str = "target/proof/lab";

/// Which cases
#[derive(Args)]
pub struct CasesArgs {
    /// Only these: names of files in lab/cases, with or without .sh
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also those that take too long for every test run
    #[arg(long)]
    soak: bool,
    /// Say what there is, and run nothing
    #[arg(long)]
    list: bool,
    /// In a guest of this Debian release, whatever the cases ask for
    #[arg(long, value_enum)]
    suite: Option<Suite>,
    /// With this target, whatever the cases ask for
    #[arg(long, value_enum)]
    target: Option<Target>,
}

impl CasesArgs {
    /// The cases' shape, as this run wants it.
    fn change(&self, case: &mut Case) {
        case.shape.suite = self.suite.unwrap_or(case.shape.suite);
        case.shape.target = self.target.unwrap_or(case.shape.target);
    }

    /// The name of results and logs.
    fn results(&self) -> String {
        let target = self.target.map(|target| if target == Target::Lio { "lio" } else { "tgt" });
        let words = self.suite.map(Suite::name).into_iter().chain(target);
        words.fold(RESULTS.to_owned(), |name, word| format!("{name}-{word}"))
    }
}

/// How a case ended; a line of the results.
#[derive(Debug, Serialize)]
struct Line<'a> {
    case: &'a str,
    proves: &'a [String],
    passed: bool,
    seconds: f64,
}

/// Runs the cases; 0 when all passed, else 1.
pub(super) fn main(args: &CasesArgs) -> Result<u8, Stop> {
    let repo = repository();
    let mut cases = choose(header::read_all(&repo.join("lab/cases"))?, &args.names, args.soak)?;
    cases.iter_mut().for_each(|case| args.change(case));
    if args.list {
        for case in &cases {
            println!("{:24} {}\n{:24} proves {}", case.name, case.sentence, "", case.proves.join(" "));
        }
        return Ok(0);
    }
    let name = args.results();
    let logs = repo.join(&name);
    fs::create_dir_all(&logs).context(|| format!("cannot make {}", logs.display()))?;
    let results = repo.join(format!("{name}.json"));
    if args.names.is_empty() && results.exists() {
        fs::remove_file(&results).context(|| format!("cannot remove {}", results.display()))?;
    }
    let mut steps = Steps::start();
    let mut endings = Vec::new();
    // All is built before anything runs, so that every guest gets the same programs.
    let mut guests = Vec::new();
    for group in groups(&cases) {
        guests.push((Ready::make(&group[0].shape, &mut steps)?, group));
    }
    for (ready, group) in guests {
        group::run(&ready, &group, &logs, &mut |case, ending| {
            ending.show(&case.name);
            endings.push((case.name.clone(), ending));
        })?;
    }
    let lines: Vec<Line<'_>> = cases
        .iter()
        .filter_map(|case| {
            let (_, ending) = endings.iter().find(|(name, _)| *name == case.name)?;
            let (passed, seconds) = (ending.passed(), ending.seconds);
            Some(Line { case: &case.name, proves: &case.proves, passed, seconds })
        })
        .collect();
    // Some of the cases are no proof of the whole.
    if args.names.is_empty() {
        write(&results, &lines)?;
    }
    let passed = lines.iter().filter(|line| line.passed).count();
    println!("lab: {passed} of {} cases passed; their output is in {name}", cases.len());
    Ok(u8::from(passed != cases.len()))
}

/// The named ones; or all, those that take long only when they are asked for.
fn choose(all: Vec<Case>, names: &[String], soak: bool) -> Result<Vec<Case>, Failure> {
    let named: BTreeSet<&str> = names.iter().map(|name| name.strip_suffix(".sh").unwrap_or(name)).collect();
    if let Some(unknown) = named.iter().find(|name| all.iter().all(|case| case.name != **name)) {
        return Err(Failure::new(format!("there is no case {unknown}; --list shows them")));
    }
    let chosen = |case: &Case| match named.is_empty() {
        true => soak || !case.soak,
        false => named.contains(case.name.as_str()),
    };
    Ok(all.into_iter().filter(chosen).collect())
}

/// The cases by shape, in the order of their first.
fn groups(cases: &[Case]) -> Vec<Vec<&Case>> {
    let mut groups: Vec<Vec<&Case>> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|group| group[0].shape == case.shape) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    groups
}

fn write(file: &Path, lines: &[Line<'_>]) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(lines).context(|| "cannot write the results as JSON")?;
    fs::write(file, text + "\n").context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_header_and_few_guests_serve_all() {
        let cases = header::read_all(&repository().join("lab/cases")).unwrap();
        assert!(cases.iter().any(|case| case.name == "smoke"));
        assert!(groups(&cases).len() <= 6, "each shape costs a boot");
    }

    #[test]
    fn another_guest_has_results_of_its_own() {
        let args = |suite, target| CasesArgs { names: vec![], list: false, soak: false, suite, target };
        assert_eq!(args(None, None).results(), "target/proof/lab");
        assert_eq!(args(Some(Suite::Trixie), Some(Target::Tgt)).results(), "target/proof/lab-trixie-tgt");
        let mut case = header::read_all(&repository().join("lab/cases")).unwrap().remove(0);
        args(Some(Suite::Trixie), None).change(&mut case);
        assert_eq!(case.shape.suite, Suite::Trixie);
    }

    #[test]
    fn chosen_by_name() {
        let cases = || header::read_all(&repository().join("lab/cases")).unwrap();
        let chosen = choose(cases(), &["smoke.sh".to_owned()], false).unwrap();
        assert_eq!(chosen.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["smoke"]);
        assert!(choose(cases(), &["no-such-case".to_owned()], false).is_err());
        assert_eq!(choose(cases(), &[], true).unwrap().len(), cases().len());
        assert!(choose(cases(), &[], false).unwrap().iter().all(|case| !case.soak));
    }
}
