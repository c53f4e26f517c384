//! The tables of the report, each a section or a part of one.

use clap::ValueEnum;
use lab_experiment::{Cell, Contender, Fault, Paths, Setting, Work};

use super::data::Data;
use super::summary::{Summary, as_f64};
use super::table::{alarms, of, spread, table};
use crate::experiment::matrix::{self, MAIN};

/// T7: the original's seven patterns in which packets are dropped, each with the same weight however often it was run: with all of them
/// dropped nothing can succeed, so six of seven are the most.
pub fn seven_drop_cases(data: &Data<'_>) -> String {
    let drops = || Fault::ORIGINAL.into_iter().filter(|fault| *fault != Fault::None);
    let rows: Vec<Vec<String>> = Contender::value_variants()
        .iter()
        .filter_map(|contender| {
            let rates = |good: fn(&Summary) -> usize| {
                Work::ALL.map(|work| {
                    let all: Option<Vec<&Summary>> =
                        drops().map(|fault| data.get(MAIN.cell(work, fault), *contender)).collect();
                    let all = all?;
                    let share = |one: &&Summary| as_f64(good(one) as u64) / as_f64(one.runs as u64);
                    let rate = 100.0 * all.iter().map(share).sum::<f64>() / 7.0;
                    let fewest = all.iter().map(|one| one.runs).min()?;
                    Some(format!("{rate:.2} % (at least {fewest} of each)"))
                })
            };
            let rates = [rates(|one| one.whole), rates(|one| one.whole_with_map)].concat();
            let text = |rate: Option<String>| rate.unwrap_or_else(|| "not all measured yet".to_owned());
            rates
                .iter()
                .any(Option::is_some)
                .then(|| [vec![contender.name()], rates.into_iter().map(text).collect()].concat())
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "All well, on average over the seven patterns in which packets are dropped (85.71 % can be had: with every packet dropped nothing \
         succeeds):\n\n{}\n",
        table(&["by", "create", "attach", "create, with a map", "attach, with a map"], &rows)
    )
}

/// What is done, at the head of a table.
pub fn heading(work: Work) -> &'static str {
    match work {
        Work::Create => "Create: attach, write an image, detach with force",
        Work::Attach => "Attach, write a little, detach",
    }
}

/// A row for each fault and contender, and who is still to be measured.
fn cells_table(data: &Data<'_>, cells: &[Cell]) -> String {
    table(&HEADINGS, &rows(data, cells)) + &not_yet(data, cells)
}

/// Loss in a setting.
pub fn loss_table(data: &Data<'_>, setting: Setting, work: Work) -> String {
    let cells: Vec<Cell> = matrix::losses().map(|fault| setting.cell(work, fault)).collect();
    cells_table(data, &cells)
}

/// Who shall run in these cells and did not yet.
fn not_yet(data: &Data<'_>, cells: &[Cell]) -> String {
    let told: Vec<String> = Contender::value_variants()
        .iter()
        .filter_map(|contender| {
            let owed = cells.iter().filter(|cell| matrix::owed(**cell, *contender) > 0).count();
            let lacking: Vec<&str> = cells
                .iter()
                .filter(|cell| matrix::owed(**cell, *contender) > 0 && data.get(**cell, *contender).is_none())
                .map(|cell| cell.fault.words())
                .collect();
            let what = match lacking.len() {
                0 => return None,
                all if all == owed => "all".to_owned(),
                _ => lacking.join("; "),
            };
            Some(format!("{} ({what})", contender.name()))
        })
        .collect();
    if told.is_empty() { String::new() } else { format!("\nNot run yet: {}.\n", told.join(", ")) }
}

const HEADINGS: [&str; 11] = [
    "fault",
    "by",
    "attached",
    "detached",
    "all well",
    "left over",
    "map",
    "paths at return",
    "after 10 s",
    "attach",
    "detach",
];

fn rows(data: &Data<'_>, cells: &[Cell]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for cell in cells {
        let mut first = true;
        for contender in Contender::value_variants() {
            let Some(one) = data.get(*cell, *contender) else { continue };
            let fault = if first { cell.fault.words().to_owned() } else { String::new() };
            first = false;
            rows.push(row(*cell, fault, &contender.name(), one));
        }
    }
    rows
}

fn row(cell: Cell, fault: String, name: &str, one: &Summary) -> Vec<String> {
    let attach = match one.attach_seconds.is_empty() {
        true => format!("failed after {}", spread(&one.failed_seconds, " s")),
        false => spread(&one.attach_seconds, " s"),
    };
    let detach = match (one.detach_seconds.is_empty(), one.refused_seconds.is_empty()) {
        (true, false) => format!("failed after {}", spread(&one.refused_seconds, " s")),
        (false, false) => {
            format!(
                "{}; failed after {}",
                spread(&one.detach_seconds, " s"),
                spread(&one.refused_seconds, " s")
            )
        }
        (_, true) => spread(&one.detach_seconds, " s"),
    };
    let map = if cell.paths == Paths::Multipath { of(one.maps, one.attached) } else { "–".to_owned() };
    let left = [of(one.left, one.runs), alarms(one)];
    let left = left.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    vec![
        fault,
        name.to_owned(),
        of(one.attached, one.runs),
        detached(one),
        of(one.whole, one.runs),
        left,
        map,
        spread(&one.paths, ""),
        spread(&one.paths_later, ""),
        attach,
        detach,
    ]
}

/// How many detaches succeeded, and how many of the others did once everything was healed.
fn detached(one: &Summary) -> String {
    let at_once = of(one.detached, one.attached);
    match one.detached_later {
        0 => at_once,
        later => format!("{at_once}, {later} after healing"),
    }
}

/// Programs and memory, which no neighbour can disturb.
pub fn costs(data: &Data<'_>) -> String {
    let cell = matrix::plain(Fault::None);
    let rows: Vec<Vec<String>> = Contender::value_variants()
        .iter()
        .filter_map(|contender| {
            let one = data.get(cell, *contender)?;
            let peak = one.memory.iter().copied().fold(0.0, f64::max);
            let programs = spread(&one.programs, "");
            Some(vec![contender.name(), programs, format!("{peak:.1} MiB"), of(one.wwids, one.runs)])
        })
        .collect();
    let headings = [
        "by",
        "programs started by an attach over 4 portals",
        "most memory of its process, with its helper",
        "runs that left a line in multipath's list of WWIDs",
    ];
    format!("### What it costs, without a fault\n\n{}\n", table(&headings, &rows))
}

/// The other targets, backends, and a single path; folded up, since they are many.
pub fn others(data: &Data<'_>) -> String {
    let mut text = "## Other settings\n\n".to_owned();
    for setting in Setting::all().filter(|setting| *setting != MAIN) {
        text += &format!("<details><summary>{}</summary>\n", setting.words());
        for work in Work::ALL {
            text += &format!("\n**{}**\n\n{}", heading(work), loss_table(data, setting, work));
        }
        text += "\n</details>\n\n";
    }
    text
}

/// What is no loss.
pub fn beyond(data: &Data<'_>) -> String {
    let cells = Fault::BEYOND_LOSS.map(matrix::plain);
    format!(
        "## Beyond loss\n\n{}, attach. With a node database that cannot be written, and while all \
         portals are dead, the right answer is an error, and a host on which nothing is left or everything is intact. \
         Where the first portal has another volume's disk at the LUN, in a map that multipathd made of it, bowline refuses the whole \
         attach on purpose, though the other three portals are clean: nobody can say whose disk that is, and whoever takes it away may take it from somebody \
         who uses it. So that cell is not among those in which an attach must succeed. Handing out that map is an alarm, whatever can be read through it.\n\n{}\n",
        MAIN.words(),
        cells_table(data, &cells)
    )
}
