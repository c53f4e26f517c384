//! Where the figures come from: what was run on what, and what was said where a call failed.

use std::collections::{BTreeMap, BTreeSet};

use lab_experiment::Contender;

use super::data::Data;
use super::table::table;

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

pub fn what_was_run(data: &Data<'_>) -> String {
    let mut counts: BTreeMap<Contender, (usize, BTreeSet<&str>, usize)> = BTreeMap::new();
    for run in data.runs {
        let entry = counts.entry(run.wish.contender).or_default();
        entry.0 += 1;
        entry.1.insert(match run.wish.contender {
            Contender::Bowline | Contender::BowlineLibrary => &run.commit,
            _ => &run.versions.contender,
        });
        entry.1.remove("");
        entry.2 += run.abandoned;
    }
    let rows: Vec<Vec<String>> = counts
        .into_iter()
        .map(|(contender, (count, versions, abandoned))| {
            let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
            vec![contender.name(), count.to_string(), versions, abandoned.to_string()]
        })
        .collect();
    let hosts: BTreeSet<String> = data
        .runs
        .iter()
        // Of a run that was lost with its guest nobody has told.
        .filter(|run| !run.versions.kernel.is_empty())
        .map(|run| {
            let it = &run.versions;
            format!(
                "Linux {}, open-iscsi {}, multipath-tools {}",
                it.kernel, it.open_iscsi, it.multipath_tools
            )
        })
        .collect();
    let hosts: Vec<String> = hosts.into_iter().collect();
    format!(
        "## What was run\n\n{}\nOn: {}.\n\n",
        table(
            &["by", "runs", "commits or releases", "begun anew, after the experiment itself had failed"],
            &rows
        ),
        hosts.join("; ")
    )
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
