//! `cargo xtask lab cases`: every case of `lab/cases`, those of one shape in one guest after another.
//!
//! A case proves its rules and, since the guest's hand asserts it after each, that nothing is left behind. A run of
//! all of them writes their results for `cargo xtask proof`.

mod group;
mod header;
mod results;
mod schedule;
mod soak;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use clap::Args;
use lab_wire::{Context, Failure, Target};

pub use self::header::Case;
pub use self::results::{Line, read};
pub use self::schedule::side_by_side;
pub use self::soak::{CAMPAIGNS, SoakArgs, main as soak};
pub use self::sources::Sources;

use self::results::Results;
use super::steps::Steps;
use super::{Ready, Stop, Suite, repository};

/// What results are called: `lab`; of a run of other cases, or in another guest than they ask for, the name says so.
const RESULTS: &str = "lab";
/// Where everything that a case printed is written, in a folder of that name; and the results of the short cases.
const HERE: &str = "target/proof";
/// Where the results of the long campaigns are written. They take hours, and are kept with the repository: each names the sources that
/// it ran with, so that nobody can take an older one for what is there now, and whoever goes on need not begin anew.
const KEPT: &str = "docs/soak";

/// Which cases
#[derive(Args)]
pub struct CasesArgs {
    /// Only these: names of files in lab/cases, with or without .sh
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only those that take too long for every test run
    #[arg(long)]
    soak: bool,
    /// Say what there is, and run nothing
    #[arg(long)]
    list: bool,
    /// In a guest of this Debian release, whatever the cases ask for
    #[arg(long, value_enum)]
    suite: Option<Suite>,
    /// With this target, whatever the cases ask for; where none is named, those cases that any target can serve
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// Not again what has passed with the very same sources
    #[arg(long)]
    resume: bool,
    /// So many guests side by side
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: std::num::NonZeroUsize,
}

impl CasesArgs {
    /// The cases' shape, as this run wants it.
    fn change(&self, case: &mut Case) {
        case.shape.suite = self.suite.unwrap_or(case.shape.suite);
        case.shape.target = self.target.unwrap_or(case.shape.target);
    }

    /// The name of results and logs.
    fn results(&self) -> String {
        results_of(self.suite, self.target, self.soak)
    }

    /// A run of this kind, of no case by name.
    fn of(suite: Option<Suite>, target: Option<Target>, soak: bool) -> Self {
        let jobs = std::num::NonZeroUsize::MIN;
        Self { names: Vec::new(), soak, list: false, suite, target, resume: false, jobs }
    }

    /// The named ones; or all that are meant.
    fn choose(&self, all: Vec<Case>) -> Result<Vec<Case>, Failure> {
        let named: BTreeSet<&str> =
            self.names.iter().map(|name| name.strip_suffix(".sh").unwrap_or(name)).collect();
        if let Some(unknown) = named.iter().find(|name| all.iter().all(|case| case.name != **name)) {
            return Err(Failure::new(format!("there is no case {unknown}; --list shows them")));
        }
        let chosen = |case: &Case| match named.is_empty() {
            true => case.soak == self.soak && (self.target.is_none() || case.any_target),
            false => named.contains(case.name.as_str()),
        };
        Ok(all.into_iter().filter(chosen).collect())
    }
}

/// The name of results and logs of such a run.
fn results_of(suite: Option<Suite>, target: Option<Target>, soak: bool) -> String {
    let target = target.map(|target| if target == Target::Lio { "lio" } else { "tgt" });
    let words = suite.map(Suite::name).into_iter().chain(target).chain(soak.then_some("soak"));
    words.fold(RESULTS.to_owned(), |name, word| format!("{name}-{word}"))
}

/// Where such results are, below the repository.
fn file_of(name: &str) -> String {
    let folder = if name == RESULTS { HERE } else { KEPT };
    format!("{folder}/{name}.json")
}

/// Every case there is.
pub fn all() -> Result<Vec<Case>, Failure> {
    header::read_all(&repository().join("lab/cases"))
}

/// Runs the cases; 0 when all passed, else 1.
pub(super) fn main(args: &CasesArgs) -> Result<u8, Stop> {
    let repo = repository();
    let mut cases = args.choose(all()?)?;
    cases.iter_mut().for_each(|case| args.change(case));
    if args.list {
        for case in &cases {
            println!("{:24} {}\n{:24} proves {}", case.name, case.sentence, "", case.proves.join(" "));
        }
        return Ok(0);
    }
    let name = args.results();
    let logs = repo.join(HERE).join(&name);
    fs::create_dir_all(&logs).context(|| format!("cannot make {}", logs.display()))?;
    // Some of the cases are no proof of the whole.
    let file = args.names.is_empty().then(|| repo.join(file_of(&name)));
    let results = Results::begin(&repo, file, args.resume)?;
    let all = cases.len();
    cases.retain(|case| !results.has(&case.name));
    if cases.len() < all {
        println!("lab: {} of {all} cases have passed with the same sources", all - cases.len());
    }
    let results = run(&cases, args.jobs.get(), &logs, results)?;
    println!("lab: {} of {all} cases passed; their output is in {HERE}/{name}", results.passed());
    Ok(u8::from(results.passed() != all))
}

/// Runs them in as few guests as there are shapes, or in as many side by side as there may be; then, one after
/// another, those that want the machine for themselves.
fn run(cases: &[Case], jobs: usize, logs: &Path, results: Results) -> Result<Results, Stop> {
    let mut steps = Steps::start();
    // All is built before anything runs, so that every guest gets the same programs.
    let (alone, crowd): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.alone && jobs > 1);
    let mut rounds = Vec::new();
    for (cases, jobs) in [(crowd, jobs), (alone, 1)] {
        let mut guests = Vec::new();
        for batch in schedule::batches(&cases, jobs) {
            guests.push((Ready::make(&batch[0].shape, &mut steps)?, batch));
        }
        rounds.push((guests, jobs));
    }
    let results = Mutex::new((results, 0));
    for (guests, jobs) in rounds {
        side_by_side(guests, jobs, |(ready, batch)| {
            group::run(&ready, &batch, logs, &mut |case, ending| {
                let mut results = results.lock().expect("nobody panics with it");
                results.1 += 1;
                ending.show(&case.name, &format!("[{:2}/{}]", results.1, cases.len()));
                results.0.add(&case.name, &case.proves, ending.passed(), ending.seconds)
            })
        })?;
    }
    Ok(results.into_inner().expect("as above").0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_header_and_few_guests_serve_all() {
        let cases = all().unwrap();
        assert!(cases.iter().any(|case| case.name == "smoke"));
        assert!(schedule::groups(&cases.iter().collect::<Vec<_>>()).len() <= 6, "each shape costs a boot");
    }

    #[test]
    fn another_guest_has_results_of_its_own() {
        assert_eq!(file_of(&CasesArgs::of(None, None, false).results()), "target/proof/lab.json");
        assert_eq!(file_of(&CasesArgs::of(None, None, true).results()), "docs/soak/lab-soak.json");
        let args = CasesArgs::of(Some(Suite::Trixie), Some(Target::Tgt), true);
        assert_eq!(args.results(), "lab-trixie-tgt-soak");
        let mut case = all().unwrap().remove(0);
        args.change(&mut case);
        assert_eq!(case.shape.suite, Suite::Trixie);
    }

    #[test]
    fn chosen_by_name_or_by_kind() {
        let names = |args: &CasesArgs| -> Vec<String> {
            args.choose(all().unwrap()).unwrap().into_iter().map(|case| case.name).collect()
        };
        let named =
            |name: &str| CasesArgs { names: vec![name.to_owned()], ..CasesArgs::of(None, None, false) };
        assert_eq!(names(&named("smoke.sh")), ["smoke"]);
        assert!(named("no-such-case").choose(all().unwrap()).is_err());
        let (short, soak) =
            (names(&CasesArgs::of(None, None, false)), names(&CasesArgs::of(None, None, true)));
        assert_eq!(short.len() + soak.len(), all().unwrap().len());
        assert!(!soak.is_empty() && soak.iter().all(|name| !short.contains(name)));
        let anywhere = names(&CasesArgs::of(None, Some(Target::Tgt), false));
        assert!(anywhere.len() > 4 && anywhere.len() < short.len(), "{anywhere:?}");
    }
}
