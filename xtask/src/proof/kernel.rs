//! What ran on the real kernel: the laboratory's cases, as their headers have them, and how they ended.

use std::collections::BTreeSet;
use std::path::Path;

use lab_wire::Failure;

use crate::lab::{self, Case, Line};

/// What `make test` writes.
const SHORT: &str = "target/proof/lab.json";

/// A case, and whether it passed; `None` when it has not run.
#[derive(Debug)]
pub(super) struct RealCase {
    pub(super) name: String,
    pub(super) proves: Vec<String>,
    /// Only `make soak` runs it.
    pub(super) soak: bool,
    pub(super) passed: Option<bool>,
    /// What it depends on is not what it was then.
    pub(super) older: bool,
}

/// Every case of the laboratory, in the guest it asks for.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    pub(super) cases: Vec<RealCase>,
    /// Whether there are results of the short cases.
    pub(super) ran: bool,
    /// A line on each campaign of `make soak`.
    pub(super) elsewhere: Vec<String>,
    /// Whether every case of every campaign has passed with what is there now.
    pub(super) whole: bool,
    /// The cases that failed with what is there now, wherever they ran.
    pub(super) failed: BTreeSet<String>,
}

impl Kernel {
    /// Reads headers and results below the repository.
    pub(super) fn read(repo: &Path) -> Result<Self, Failure> {
        let results = |file: &str| lab::results_of(&repo.join(file));
        // The long cases in the same guest are the first campaign.
        let (short, soak) = (results(SHORT)?, results(&lab::CAMPAIGNS[0].file())?);
        let ran = short.is_some();
        let sources = lab::Sources::read(repo);
        let now = |case: &str| Some(sources.as_ref()?.of(case));
        let mut failed = failures(short.as_deref().unwrap_or_default(), "`make test`", &now);
        let lines: Vec<Line> = short.into_iter().chain(soak).flatten().collect();
        let cases = lab::all_cases()?.into_iter().map(|case| joined(case, &lines, &now)).collect();
        let (mut elsewhere, mut whole) = (Vec::new(), true);
        for campaign in &lab::CAMPAIGNS {
            let (lines, meant) = (results(&campaign.file())?.unwrap_or_default(), campaign.cases()?);
            failed.extend(failures(&lines, campaign.name, &now));
            whole &= passed_now(&lines, &meant, &now) == meant.len();
            elsewhere.push(told(campaign.name, lines, &meant, &now));
        }
        Ok(Self { cases, ran, elsewhere, whole, failed })
    }

    /// The cases that prove it and passed, with what is there now.
    pub(super) fn passed(&self, id: &str) -> impl Iterator<Item = &RealCase> {
        self.of(id).filter(|case| case.passed == Some(true) && !case.older)
    }

    /// Every id that a case that passed names.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.cases.iter().filter(|case| case.passed == Some(true)).flat_map(|case| &case.proves)
    }

    /// What became of the cases that would have proved it.
    pub(super) fn why_not(&self, id: &str) -> String {
        let ending = |case: &RealCase| {
            let what = match case.passed {
                Some(true) => "has passed with older sources only",
                Some(false) => "failed",
                None => "has not run",
            };
            format!("case {} {what}", case.name)
        };
        let endings: Vec<String> = self.of(id).map(ending).collect();
        match endings.is_empty() {
            true => "no case names it".to_owned(),
            false => endings.join(", "),
        }
    }

    fn of(&self, id: &str) -> impl Iterator<Item = &RealCase> {
        self.cases.iter().filter(move |case| case.proves.iter().any(|proved| proved == id))
    }
}

/// What it proves is what it proved when it ran: a header that was changed since proves nothing more.
fn joined(case: Case, lines: &[Line], now: &dyn Fn(&str) -> Option<String>) -> RealCase {
    let line = lines.iter().find(|line| line.case == case.name);
    let proves = match line {
        Some(line) => case.proves.into_iter().filter(|id| line.proves.contains(id)).collect(),
        None => case.proves,
    };
    let older = line.is_some_and(|line| !is_now(line, now));
    RealCase { name: case.name, proves, soak: case.soak, passed: line.map(|line| line.passed), older }
}

/// Whether it ran with the sources that are there now, committed or not. (Where git cannot tell, as in an unpacked archive, what ran there is
/// believed.)
fn is_now(line: &Line, now: &dyn Fn(&str) -> Option<String>) -> bool {
    line.sources == now(&line.case)
}

fn failures(lines: &[Line], campaign: &str, now: &dyn Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let failed = lines.iter().filter(|line| !line.passed && is_now(line, now));
    failed.map(|line| format!("{} of {campaign}", line.case)).collect()
}

/// How many of these cases have passed with what is there now.
fn passed_now(lines: &[Line], cases: &[String], now: &dyn Fn(&str) -> Option<String>) -> usize {
    let passed =
        |name: &&String| lines.iter().any(|line| line.case == **name && line.passed && is_now(line, now));
    cases.iter().filter(passed).count()
}

/// How a campaign of such cases went, in a line: what has not run, or ran with other sources than there are now, has not passed.
fn told(campaign: &str, lines: Vec<Line>, cases: &[String], now: &dyn Fn(&str) -> Option<String>) -> String {
    if lines.is_empty() {
        return format!("`make soak`, {campaign}: not run.\n");
    }
    let of = |name: &String| lines.iter().find(|line| line.case == *name);
    let is_now = |line: &Line| is_now(line, now);
    let named = |what: &str, which: &dyn Fn(Option<&Line>) -> bool| {
        let names: Vec<&str> = cases.iter().filter(|name| which(of(name))).map(String::as_str).collect();
        if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
    };
    let passed = passed_now(&lines, cases, now);
    format!(
        "`make soak`, {campaign}: {passed} of {} passed{}{}{}{}.\n",
        cases.len(),
        named("failed", &|line| line.is_some_and(|line| !line.passed && is_now(line))),
        named("failed with older sources", &|line| line.is_some_and(|line| !line.passed && !is_now(line))),
        named("passed with older sources", &|line| line.is_some_and(|line| line.passed && !is_now(line))),
        named("not run", &|line| line.is_none()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(passed: bool) -> Line {
        Line {
            case: "smoke".into(),
            proves: vec!["C1".into()],
            passed,
            seconds: 1.0,
            sources: Some("now".into()),
        }
    }

    #[test]
    fn a_case_proves_what_it_named_when_it_ran() {
        let smoke = || {
            let mut case = lab::all_cases().unwrap().into_iter().find(|case| case.name == "smoke").unwrap();
            case.proves = vec!["C1".into(), "C2".into()];
            case
        };
        let now = |_: &str| Some("now".to_owned());
        assert_eq!(joined(smoke(), &[line(true)], &now).proves, ["C1"]);
        let kernel =
            |lines: &[Line]| Kernel { cases: vec![joined(smoke(), lines, &now)], ..Kernel::default() };
        assert_eq!(kernel(&[line(true)]).passed("C1").count(), 1);
        assert_eq!(kernel(&[line(false)]).passed("C1").count(), 0);
        assert_eq!(kernel(&[line(false)]).why_not("C1"), "case smoke failed");
        let older = [Line { sources: Some("then".into()), ..line(true) }];
        assert_eq!(kernel(&older).passed("C1").count(), 0);
        assert_eq!(kernel(&older).why_not("C1"), "case smoke has passed with older sources only");
        assert_eq!(kernel(&[]).why_not("C2"), "case smoke has not run");
        assert_eq!(kernel(&[]).why_not("C9"), "no case names it");
    }

    #[test]
    fn a_campaign_in_a_line() {
        let (cases, now) = (["smoke".to_owned(), "force".to_owned()], |_: &str| Some("now".to_owned()));
        let told = |lines: &[Line]| told("all", lines.to_vec(), &cases, &now);
        assert_eq!(told(&[]), "`make soak`, all: not run.\n");
        assert_eq!(failures(&[line(true), line(false)], "a run", &now), ["smoke of a run".to_owned()].into());
        assert_eq!(told(&[line(true)]), "`make soak`, all: 1 of 2 passed; not run: force.\n");
        assert_eq!(told(&[line(false)]), "`make soak`, all: 0 of 2 passed; failed: smoke; not run: force.\n");
        let older = Line { sources: Some("then".into()), ..line(true) };
        let text = "`make soak`, all: 0 of 2 passed; passed with older sources: smoke; not run: force.\n";
        assert_eq!(told(&[older]), text);
    }
}
