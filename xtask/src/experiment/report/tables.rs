//! The tables of the report, each a section or a part of one.

use clap::ValueEnum;
use lab_experiment::{Cell, Contender, Fault, Paths, Run, Work};
use lab_wire::{Backend, Target};

use super::data::{Data, MAIN, Setting, faults, in_setting};
use super::summary::{Summary, as_f64};
use super::table::{alarms, of, spread, table};
use crate::experiment::matrix;

/// T7: the original's seven patterns in which packets are dropped, each with the same weight however often it was run: with all of them
/// dropped nothing can succeed, so six of seven are the most.
pub fn seven_drop_cases(data: &Data<'_>) -> String {
    let drops = || Fault::ORIGINAL.into_iter().filter(|fault| *fault != Fault::None);
    let rows: Vec<Vec<String>> = Contender::value_variants()
        .iter()
        .filter_map(|contender| {
            let rate = |work: Work| {
                let rates: Option<Vec<f64>> = drops()
                    .map(|fault| {
                        let one = data.get(in_setting(MAIN, work, fault), *contender)?;
                        Some(as_f64(one.whole as u64) / as_f64(one.runs as u64))
                    })
                    .collect();
                rates.map(|rates| 100.0 * rates.iter().sum::<f64>() / 7.0)
            };
            let rates = [Work::Create, Work::Attach].map(rate);
            let text = |rate: Option<f64>| {
                rate.map_or_else(|| "not all measured yet".to_owned(), |rate| format!("{rate:.2} %"))
            };
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
        table(&["by", "create", "attach"], &rows)
    )
}

pub fn heading(work: Work) -> &'static str {
    match work {
        Work::Create => "Create: attach, write an image, detach with force",
        Work::Attach => "Attach, write a little, detach",
    }
}

/// A row for each fault and contender.
pub fn loss_table(data: &Data<'_>, setting: Setting, work: Work) -> String {
    let cells = faults().map(|fault| in_setting(setting, work, fault));
    table(&HEADINGS, &rows(data, cells, Contender::value_variants()))
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

fn rows(data: &Data<'_>, cells: impl Iterator<Item = Cell>, contenders: &[Contender]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for cell in cells {
        let mut first = true;
        for contender in contenders {
            let Some(one) = data.get(cell, *contender) else { continue };
            let fault = if first { cell.fault.words().to_owned() } else { String::new() };
            first = false;
            rows.push(row(cell, fault, &contender.name(), one));
        }
    }
    rows
}

fn row(cell: Cell, fault: String, name: &str, one: &Summary) -> Vec<String> {
    let attach = match one.attach_seconds.is_empty() {
        true => format!("failed after {}", spread(&one.failed_seconds, " s")),
        false => spread(&one.attach_seconds, " s"),
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
        spread(&one.detach_seconds, " s"),
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
    let cell = in_setting(MAIN, Work::Attach, Fault::None);
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
        "most memory of its process",
        "runs that left a line in multipath's list of WWIDs",
    ];
    format!("### What it costs, without a fault\n\n{}\n", table(&headings, &rows))
}

/// The other targets, backends, and a single path: all faults of a setting in one row.
pub fn others(data: &Data<'_>) -> String {
    let mut text = "## Other settings\n\nAll patterns of loss together; with every packet lost (one of ten) no attach can succeed.\n\n".to_owned();
    let mut rows = Vec::new();
    for target in [Target::Lio, Target::Tgt] {
        for backend in [Backend::OneIqn, Backend::IqnPerPortal] {
            for paths in [Paths::Multipath, Paths::Single] {
                let here = |run: &&Run| {
                    let cell = run.wish.cell;
                    (cell.target, cell.backend, cell.paths) == (target, backend, paths)
                        && matrix::is_loss(cell.fault)
                };
                for contender in Contender::value_variants() {
                    for (work, does) in [(Work::Create, "create"), (Work::Attach, "attach")] {
                        let runs = data.runs.iter().filter(here);
                        let runs =
                            runs.filter(|run| (run.wish.contender, run.wish.cell.work) == (*contender, work));
                        let one = Summary::of(runs);
                        if one.runs == 0 {
                            continue;
                        }
                        let cell = in_setting((target, backend, paths), work, Fault::None);
                        let setting = cell.to_string();
                        let setting: Vec<&str> = setting.split('/').take(3).collect();
                        rows.push(vec![
                            setting.join(", "),
                            does.to_owned(),
                            contender.name(),
                            of(one.attached, one.runs),
                            detached(&one),
                            of(one.whole, one.runs),
                            of(one.left, one.runs),
                            alarms(&one),
                        ]);
                    }
                }
            }
        }
    }
    let headings = ["setting", "use", "by", "attached", "detached", "all well", "left over", "alarms"];
    text += &table(&headings, &rows);
    text.push('\n');
    text
}

pub fn beyond(data: &Data<'_>) -> String {
    let cells = Fault::BEYOND_LOSS.into_iter().map(|fault| in_setting(MAIN, Work::Attach, fault));
    let rows = rows(data, cells, Contender::value_variants());
    format!(
        "## Beyond loss\n\nLIO, one IQN behind four portals, multipath, attach. With a node database that cannot be written, and while all \
         portals are dead, the right answer is an error, and a host on which nothing is left or everything is intact. \
         Another volume's disk at the LUN is held by a map that multipathd made of it, so that no disk of the volume that is asked \
         for can be there: refusing is right there too, and handing out that map is an alarm, whatever can be read through it.\n\n{}\n",
        table(&HEADINGS, &rows)
    )
}
