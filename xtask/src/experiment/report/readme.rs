//! The part of the README that is made from the data: the main table and a graph.

use std::fs;
use std::path::Path;

use lab_experiment::Contender;
use lab_wire::{Context, Failure};

use super::data::Data;
use super::summary::Summary;
use super::table::{of, spread, table};
use crate::experiment::matrix;

/// What lies between these lines of the README is made here.
const MARKS: [&str; 2] = ["<!-- made by `make experiment` -->", "<!-- up to here -->"];

/// Replaces it.
pub fn write(file: &Path, data: &Data<'_>) -> Result<(), Failure> {
    let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    let lacking = || Failure::new(format!("{} has no line `{}`", file.display(), MARKS[0]));
    let (head, rest) = text.split_once(MARKS[0]).ok_or_else(lacking)?;
    let (_, tail) = rest.split_once(MARKS[1]).ok_or_else(lacking)?;
    let contenders = [Contender::Bowline, Contender::OsBrick];
    let rows: Vec<Vec<String>> = matrix::losses()
        .filter_map(|fault| {
            let cell = matrix::plain(fault);
            let both = contenders.map(|who| data.get(cell, who));
            let each = |one: &Option<&Summary>| match one {
                Some(one) => vec![
                    of(one.whole, one.runs),
                    of(one.left, one.runs),
                    spread(&one.attach_seconds, " s"),
                    spread(&one.detach_seconds, " s"),
                ],
                None => vec!["not run yet".to_owned(), String::new(), String::new(), String::new()],
            };
            let told = both.iter().any(Option::is_some);
            told.then(|| [vec![fault.words().to_owned()], both.iter().flat_map(each).collect()].concat())
        })
        .collect();
    let headings = [
        "fault",
        "bowline: all well",
        "left over",
        "attach",
        "detach",
        "os-brick: all well",
        "left over",
        "attach",
        "detach",
    ];
    let made = format!(
        "{}\n\n{}\n![Success](docs/experiment/success.svg)\n\n{}",
        MARKS[0],
        table(&headings, &rows),
        MARKS[1]
    );
    fs::write(file, format!("{head}{made}{tail}")).context(|| format!("cannot write {}", file.display()))
}
