//! Where the figures come from: what was run on what, and what was said where a call failed.

use std::collections::{BTreeMap, BTreeSet};

use lab_experiment::{Contender, Run, Versions};

use super::data::Data;
use super::table::table;
use crate::experiment::matrix;

/// What was said where a call failed, the most frequent first.
pub fn errors(data: &Data<'_>) -> String {
    let mut said: BTreeMap<(Contender, &str, String), usize> = BTreeMap::new();
    for run in data.runs {
        let calls = [("attach", Some(&run.attach)), ("detach", run.detach.as_ref())];
        for (verb, call) in calls {
            if let Some(error) = call.and_then(|call| call.error.as_deref()) {
                *said.entry((run.wish.contender, verb, shortened(error))).or_default() += 1;
            }
        }
    }
    let mut said: Vec<_> = said.into_iter().collect();
    said.sort_by_key(|((contender, verb, _), count)| (*contender, *verb, std::cmp::Reverse(*count)));
    let rows: Vec<Vec<String>> = said
        .into_iter()
        .map(|((contender, verb, error), count)| {
            vec![contender.name(), verb.to_owned(), count.to_string(), error]
        })
        .collect();
    format!(
        "## What they said when they failed\n\nNumbers and names are left out, so that what is alike is counted together.\n\n{}\n",
        table(&["by", "call", "times", "error"], &rows)
    )
}

/// An error without what differs from run to run, and not too long for a table.
fn shortened(error: &str) -> String {
    let line: String = error.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let mut short = String::new();
    for word in line.chars() {
        match word {
            '0'..='9' if short.ends_with('#') => {}
            '0'..='9' => short.push('#'),
            other => short.push(other),
        }
    }
    match short.char_indices().nth(160) {
        None => short,
        Some((end, _)) => format!("{}…", &short[..end]),
    }
}

/// Who did the work, of those who did.
pub fn contenders(data: &Data<'_>) -> String {
    let ran = data.contenders(|_| true);
    let rows: Vec<Vec<String>> =
        ran.into_iter().map(|who| vec![who.name(), what_it_is(who).to_owned()]).collect();
    table(&["contender", ""], &rows)
}

fn what_it_is(contender: Contender) -> &'static str {
    match contender {
        Contender::Bowline => "the command, started for each call: its start is part of its time",
        Contender::BowlineLibrary => "the library in a process that lives on",
        Contender::OsBrick => {
            "7.1.1, today's release, in a process that lives on, without its privilege-separation daemon: its fastest mode"
        }
        Contender::OsBrick112 => {
            "the last series before the rewrite, in the same way, on Python 3.11 with the dependencies of today; it was written for another \
             Python and for libraries of its time, and where it fails, that may be why"
        }
        Contender::Floor => "the work that nobody can do without; in benchmarks only",
    }
}

/// How often each has run of what is owed, which version of it, and on what.
pub fn what_was_run(data: &Data<'_>) -> String {
    let rows: Vec<Vec<String>> = data
        .contenders(|_| true)
        .into_iter()
        .map(|contender| {
            let runs: Vec<&Run> = data.runs.iter().filter(|run| run.wish.contender == contender).collect();
            let abandoned: usize = runs.iter().map(|run| run.outside.abandoned).sum();
            let missing = matrix::lacking(|_| true, contender, data.runs);
            vec![
                contender.name(),
                runs.len().to_string(),
                missing.to_string(),
                versions(&runs),
                abandoned.to_string(),
            ]
        })
        .collect();
    format!(
        "## What was run\n\n{}\nOn: {}.\n\n",
        table(
            &[
                "by",
                "runs",
                "still missing",
                "commits (newest first) or releases",
                "begun anew, after the experiment itself had failed"
            ],
            &rows
        ),
        hosts(data.runs.iter().map(|run| &run.versions))
    )
}

/// The hosts, each once.
pub fn hosts<'a>(versions: impl Iterator<Item = &'a Versions>) -> String {
    // Of what was lost with its guest nobody has told.
    let told = versions.filter(|versions| !versions.kernel.is_empty());
    let hosts: BTreeSet<String> = told.map(Versions::host).collect();
    hosts.into_iter().collect::<Vec<_>>().join("; ")
}

/// The versions of a contender, each with how many runs are of it; the newest first.
fn versions(runs: &[&Run]) -> String {
    let mut by: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for run in runs {
        let version = match run.wish.contender {
            Contender::Bowline | Contender::BowlineLibrary => &run.outside.commit,
            _ => &run.versions.contender,
        };
        let (newest, count) = by.entry(version).or_default();
        *newest = run.outside.ended.max(*newest);
        *count += 1;
    }
    // Of a run that was lost with its guest nobody has told.
    by.remove("");
    let mut all: Vec<_> = by.into_iter().collect();
    all.sort_by_key(|(_, (newest, _))| std::cmp::Reverse(*newest));
    let told: Vec<String> =
        all.into_iter().map(|(version, (_, count))| format!("{version} × {count}")).collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_are_one() {
        assert_eq!(shortened("killed after 12.5 s\n on sda"), "killed after #.# s on sda");
        assert_eq!(shortened(&"é".repeat(500)).chars().count(), 161);
    }
}
