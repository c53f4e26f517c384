//! The part of the README that is made from the data: the main table and a graph.

use std::fs;
use std::path::Path;

use lab_experiment::{Contender, Work};
use lab_wire::{Context, Failure};

use super::data::{Data, MAIN, faults, in_setting};
use super::summary::Summary;
use super::table::{of, spread, table};

/// What lies between these lines of the README is made here.
const MARKS: [&str; 2] = ["<!-- made by `make experiment` -->", "<!-- up to here -->"];

/// Replaces it.
pub fn write(file: &Path, data: &Data<'_>) -> Result<(), Failure> {
    let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    let lacking = || Failure::new(format!("{} has no line `{}`", file.display(), MARKS[0]));
    let (head, rest) = text.split_once(MARKS[0]).ok_or_else(lacking)?;
    let (_, tail) = rest.split_once(MARKS[1]).ok_or_else(lacking)?;
    let contenders = [Contender::Bowline, Contender::OsBrick];
    let rows: Vec<Vec<String>> = faults()
        .filter_map(|fault| {
            let cell = in_setting(MAIN, Work::Attach, fault);
            let both: Vec<&Summary> = contenders.iter().filter_map(|who| data.get(cell, *who)).collect();
            let [ours, theirs] = both[..] else { return None };
            let each = |one: &Summary| {
                [
                    of(one.whole, one.runs),
                    of(one.left, one.runs),
                    spread(&one.attach_seconds, " s"),
                    spread(&one.detach_seconds, " s"),
                ]
            };
            Some([vec![fault.words().to_owned()], each(ours).to_vec(), each(theirs).to_vec()].concat())
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
