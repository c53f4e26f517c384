//! The report: `docs/experiment.md`, its graphs, and the part of the README that shows the main table; all made from
//! the data, and from nothing else, so that anybody can make them again.

pub mod bench;
mod chart;
mod goals;
pub mod summary;
pub mod table;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::ValueEnum;
use lab_experiment::{Cell, Contender, Fault, Paths, Run, Work};
use lab_wire::{Backend, Context, Failure, Target};

use self::chart::{Series, Share};
use self::goals::Goal;
use self::summary::{Spread, Summary, as_f64};
use self::table::{alarms, of, spread, table};
use super::matrix;
use crate::lab::repository;

/// Below the repository.
const REPORT: &str = "docs/experiment.md";
const GRAPHS: &str = "docs/experiment";
/// What lies between these lines of the README is made here.
const README: [&str; 2] = ["<!-- made by `make experiment` -->", "<!-- up to here -->"];

/// Makes all of it.
pub fn write(runs: &[Run]) -> Result<(), Failure> {
    let repo = repository();
    let put = |name: &str, text: &str| {
        let file = repo.join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&file, text).context(|| format!("cannot write {}", file.display()))
    };
    let all = Data::of(runs);
    put(&format!("{GRAPHS}/success.svg"), &success_graph(&all))?;
    put(
        &format!("{GRAPHS}/attach.svg"),
        &time_graph(&all, "Seconds of an attach that succeeded", |s| &s.attach_seconds),
    )?;
    put(
        &format!("{GRAPHS}/detach.svg"),
        &time_graph(&all, "Seconds of a detach that succeeded", |s| &s.detach_seconds),
    )?;
    put(REPORT, &document(&all))?;
    readme(&repo.join("README.md"), &all)?;
    println!("experiment: the report of {} runs is in {REPORT}", runs.len());
    Ok(())
}

/// All runs, by cell and contender.
struct Data<'a> {
    runs: &'a [Run],
    by: BTreeMap<(Cell, Contender), Summary>,
}

impl<'a> Data<'a> {
    fn of(runs: &'a [Run]) -> Self {
        let keys: BTreeSet<(Cell, Contender)> =
            runs.iter().map(|run| (run.wish.cell, run.wish.contender)).collect();
        let of = |key: &(Cell, Contender)| {
            Summary::of(runs.iter().filter(|run| (run.wish.cell, run.wish.contender) == *key))
        };
        Self { runs, by: keys.into_iter().map(|key| (key, of(&key))).collect() }
    }

    /// Those who ran in any of these cells.
    fn contenders(&self, cells: impl Fn(&Cell) -> bool) -> Vec<Contender> {
        let ran: BTreeSet<Contender> =
            self.by.keys().filter(|(cell, _)| cells(cell)).map(|(_, contender)| *contender).collect();
        ran.into_iter().collect()
    }

    fn get(&self, cell: Cell, contender: Contender) -> Option<&Summary> {
        self.by.get(&(cell, contender))
    }

    /// What was measured under a fault in the main setting, of both uses together.
    fn in_both_uses(
        &self,
        fault: Fault,
        contender: Contender,
        values: fn(&Summary) -> &Vec<f64>,
    ) -> Option<Spread> {
        let cells = [Work::Create, Work::Attach].map(|work| in_setting(MAIN, work, fault));
        let summaries = cells.into_iter().filter_map(|cell| self.get(cell, contender));
        Spread::of(&summaries.flat_map(values).copied().collect::<Vec<_>>())
    }
}

/// The setting that most cells and the original have.
const MAIN: Setting = (Target::Lio, Backend::OneIqn, Paths::Multipath);
type Setting = (Target, Backend, Paths);

fn in_setting((target, backend, paths): Setting, work: Work, fault: Fault) -> Cell {
    Cell { target, backend, paths, work, fault }
}

fn faults() -> impl Iterator<Item = Fault> {
    Fault::ORIGINAL.into_iter().chain(Fault::HEAVIER)
}

fn is_main(cell: &Cell) -> bool {
    (cell.target, cell.backend, cell.paths) == MAIN && matrix::is_loss(cell.fault)
}

fn success_graph(data: &Data<'_>) -> String {
    let rows: Vec<Fault> = faults().collect();
    let series: Vec<Series<Share>> = data
        .contenders(is_main)
        .into_iter()
        .map(|contender| Series {
            name: contender.name(),
            values: rows
                .iter()
                .map(|fault| {
                    let (mut share, mut any) = (Share { count: 0, of: 0 }, false);
                    for work in [Work::Create, Work::Attach] {
                        if let Some(summary) = data.get(in_setting(MAIN, work, *fault), contender) {
                            share.count += summary.whole;
                            share.of += summary.runs;
                            any = true;
                        }
                    }
                    any.then_some(share)
                })
                .collect(),
        })
        .collect();
    let names: Vec<String> = rows.iter().map(|fault| fault.words().to_owned()).collect();
    chart::shares("Runs in which attach, data and detach all succeeded", &names, &series)
}

fn time_graph(data: &Data<'_>, title: &str, values: fn(&Summary) -> &Vec<f64>) -> String {
    let rows: Vec<Fault> = faults().filter(|fault| *fault != Fault::Drop100).collect();
    let series: Vec<Series<Spread>> = data
        .contenders(is_main)
        .into_iter()
        .map(|contender| Series {
            name: contender.name(),
            values: rows.iter().map(|fault| data.in_both_uses(*fault, contender, values)).collect(),
        })
        .collect();
    let names: Vec<String> = rows.iter().map(|fault| fault.words().to_owned()).collect();
    chart::seconds(title, &names, &series)
}

const INTRODUCTION: &str = "\
# The experiment

os-brick, which attaches volumes for OpenStack, was rewritten in 2017 because it failed when packets were lost, and
the rewrite was tested by dropping packets. This is that experiment on a real kernel, done by bowline and by os-brick
in the same guest, and then carried on to faults that nobody tests. This file and its graphs are made from the data in
[experiment/runs.jsonl](experiment/runs.jsonl), a line for each run:

    make experiment                       # runs what is missing (hours), makes the report
    make experiment CELLS=smoke RUNS=1    # a few minutes: a little of each kind
    cargo xtask experiment --report       # the report only

## What a run is

A host with open-iscsi, multipathd (`find_multipaths no`, else Debian's configuration) and udev in a virtual machine; a
target behind four portals, each on a network of its own. With this setting multipathd makes a map of every disk, so that a *single* path is
handed out as a map of one path, or as the disk beneath it. A run begins on a host that is proven clean: no session, node record,
disk, map or program of anybody. Then the fault is put in force, and the contender attaches the volume. The paths are
counted at its return and 10 s later; the device is read, to see that it is the volume that was asked for. Then data
is written past the page cache, synced, and read back: 2 MiB for *create*, 256 KiB for *attach*. Then the contender
detaches, with force for *create*, as Cinder does when it has made a volume from an image. At last the target's own file
is compared with what was written, and whatever is left on the host is counted: sessions, node records, disks, maps, links, programs that still run (a
line in multipath's list of WWIDs harms nobody, and is counted apart). Where a detach fails, everything is healed and it is
asked once more; what is left after that counts. The fault is in force from before the attach until all of this is over.

| contender | |
| --- | --- |
| bowline | the command, started for each call: its start is part of its time |
| bowline-library | the library in a process that lives on |
| os-brick | 7.1.1, today's release, in a process that lives on, without its privilege-separation daemon: its fastest mode |
| os-brick-1.12 | the last series before the rewrite, the same way, on Python 3.11 with the dependencies of today |

Time-outs are what each has by default, and the daemons' (iscsid.conf, multipath.conf) are the same files. An attach by bowline ends by
its own deadline of 120 s, its logins are tried every 3 s, eight times at most, each by iscsid for 5 s. os-brick has no deadline: its logins are
iscsid's (8 tries of 15 s), and it scans for a device three times. Who does not answer within 1000 s is killed. The order of runs and
contenders is shuffled from a seed; times are those of calls that succeeded, where any did.
";

const CANNOT_SAY: &str = "\
## What these figures cannot say

- The guest has two processors in software emulation, shared with other guests on the same machine. A program's start costs 30 ms
  and a pass of udev's rules more than a second, so the times are several times those of real hardware, and vary with
  what the neighbour does. Ratios between contenders mean something, seconds do not.
- Loss is random on each packet that arrives, as in the original experiment. Real networks lose packets in bursts.
- Ten runs without a failure mean, with 95 % confidence, a rate of failure below 26 %; forty runs, below 7 %. Most cells outside the
  main table have three of bowline and one of os-brick: they show that something happens, not how often. The first run of bowline in most
  cells was made in a campaign of bowline alone; all others are shuffled among those of the other contenders.
- Data is synced by whoever writes it, and the close of its last user writes back the rest, so that a detach finds nothing to flush unless the paths
  are dead. What a detach's flush is worth shows where all portals are dead while data is under way.
- A SIGKILL of iscsid or of the caller, or the end of multipathd, happens at a moment that is aimed at from outside: the data says when it struck.
- The target is in the same guest, in a network namespace of its own, so it competes for the same processors.
- os-brick 1.12 was written for another Python and for libraries of its time. Where it fails, that may be why; its errors are in the data.
- With every packet lost nothing can succeed: 7 of the 8 patterns are the most that anybody can reach.
";

fn document(data: &Data<'_>) -> String {
    let mut text = INTRODUCTION.to_owned();
    text += "\n## Loss: LIO, one IQN behind four portals, multipath\n\n";
    text += "![Success](experiment/success.svg)\n\n![Seconds of an attach](experiment/attach.svg)\n\n";
    text += "![Seconds of a detach](experiment/detach.svg)\n\n";
    text += &seven_drop_cases(data);
    for work in [Work::Create, Work::Attach] {
        text += &format!("### {}\n\n", heading(work));
        text += &loss_table(data, MAIN, work);
        text.push('\n');
    }
    text += &costs(data);
    text += &goals::section(&aims(data));
    text += &others(data);
    text += &beyond(data);
    text += &errors(data);
    text += &what_was_run(data);
    text + CANNOT_SAY
}

/// T7: the original's seven patterns in which packets are dropped, each with the same weight however often it was run: with all of them
/// dropped nothing can succeed, so six of seven are the most.
fn seven_drop_cases(data: &Data<'_>) -> String {
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

fn heading(work: Work) -> &'static str {
    match work {
        Work::Create => "Create: attach, write an image, detach with force",
        Work::Attach => "Attach, write a little, detach",
    }
}

/// A row for each fault and contender.
fn loss_table(data: &Data<'_>, setting: Setting, work: Work) -> String {
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

/// What bowline's command and its library shall reach, over all cells.
fn aims(data: &Data<'_>) -> Vec<Goal> {
    const OURS: [Contender; 2] = [Contender::Bowline, Contender::BowlineLibrary];
    let ours = || data.runs.iter().filter(|run| OURS.contains(&run.wish.contender));
    let count = |of: &dyn Fn(&Run) -> bool, good: &dyn Fn(&Run) -> bool| {
        let all: Vec<&Run> = ours().filter(|run| of(run)).collect();
        (all.iter().filter(|run| good(run)).count(), all.len())
    };
    let lacking = |cells: &dyn Fn(Cell) -> bool, who| matrix::lacking(cells, who, data.runs);
    let missing = |cells: &dyn Fn(Cell) -> bool| OURS.iter().map(|who| lacking(cells, *who)).sum();
    let all = |aim, cells: &dyn Fn(Cell) -> bool, good: &dyn Fn(&Run) -> bool| {
        let (good, of) = count(&|run| cells(run.wish.cell), good);
        Goal::all(aim, good, of).missing(missing(cells))
    };
    let most = |aim, fault: Fault| {
        let (attached, tried) = count(&|run| run.fault() == fault, &Run::attached);
        Goal::share(aim, attached, tried, 95).missing(missing(&|cell| cell.fault == fault))
    };
    let multipath = |cell: Cell| cell.paths == Paths::Multipath;
    let (maps, handed_out) = count(&|run| run.attached() && multipath(run.wish.cell), &|run| {
        run.handed_out.as_ref().is_some_and(|out| out.map)
    });
    let seconds = |contender| data.in_both_uses(Fault::Drop10, contender, |one| &one.detach_seconds);
    let detach = || Some(seconds(Contender::Bowline)?.median / seconds(Contender::OsBrick)?.median);
    let in_graph = |cell: Cell| is_main(&cell) && cell.fault == Fault::Drop10;
    let cells = data.by.iter().filter(|((cell, who), _)| in_graph(*cell) && *who == Contender::Bowline);
    let failed_detaches = cells.map(|(_, one)| one.attached - one.detached).sum();
    vec![
        all(
            "nothing is left over in any run, not even a line in multipath's list of WWIDs, nor a part by a detach that fails",
            &|_| true,
            &|run| run.spotless() && !run.stopped_half_way(),
        ),
        all(
            "attach succeeds where at least one portal is clean",
            &|cell| a_portal_is_clean(cell.fault),
            &Run::attached,
        ),
        most("attach succeeds in 95 % with 10 % dropped on all portals", Fault::Drop10),
        most("attach succeeds in 95 % with 20 % dropped on all portals", Fault::Drop20),
        Goal::all("every multipath attach hands out a map", maps, handed_out).missing(missing(&multipath)),
        all("never another volume, and never a disk that another has left", &|_| true, &|run| {
            run.handed_out.as_ref().is_none_or(|out| out.right_volume != Some(false) && !out.stale)
        }),
        all("no call hangs, and none ends without an answer", &|_| true, &|run| !run.hung()),
        all(
            "what is read through the device is what was written, and no detach that says it succeeded lost data without saying so",
            &|_| true,
            &|run| !run.differs() && !run.lost_silently(),
        ),
        all(
            "with every packet dropped it fails by its deadline (120 s), clean",
            &|cell| cell.fault == Fault::Drop100,
            &|run| !run.attached() && run.attach.seconds <= 120.0 && run.spotless(),
        ),
        Goal::at_most(
            "10 % dropped on all portals: a detach that succeeds takes at most a third of os-brick's time (medians)",
            detach(),
            1.0 / 3.0,
            " ×",
        )
        .missing(lacking(&in_graph, Contender::Bowline) + lacking(&in_graph, Contender::OsBrick))
        .failed(failed_detaches),
    ]
}

/// Whether a portal works as it should, and nothing else stands in the way of an attach: daemons that come back do not, a
/// node database that cannot be written and another volume's disk at the LUN do.
fn a_portal_is_clean(fault: Fault) -> bool {
    match fault {
        Fault::None
        | Fault::Drop20FirstHalf
        | Fault::Drop20SecondHalf
        | Fault::Drop100FirstHalf
        | Fault::Drop100SecondHalf
        | Fault::RejectFirstHalf
        | Fault::Flap
        | Fault::UnmappedBeforeDetach
        | Fault::IscsidKilled
        | Fault::MultipathdStopped
        | Fault::DirtyAllDead
        | Fault::CallerKilled => true,
        Fault::Drop10
        | Fault::Drop20
        | Fault::Drop30
        | Fault::Drop50
        | Fault::Drop100
        | Fault::Delay200
        | Fault::LunReused
        | Fault::RecordsReadOnly
        | Fault::RecordsFull => false,
    }
}

/// Programs and memory, which no neighbour can disturb.
fn costs(data: &Data<'_>) -> String {
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
fn others(data: &Data<'_>) -> String {
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

fn beyond(data: &Data<'_>) -> String {
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

/// What was said where a call failed, the most frequent first.
fn errors(data: &Data<'_>) -> String {
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

fn what_was_run(data: &Data<'_>) -> String {
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

/// The part of the README: the main table and a graph.
fn readme(file: &Path, data: &Data<'_>) -> Result<(), Failure> {
    let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    let lacking = || Failure::new(format!("{} has no line `{}`", file.display(), README[0]));
    let (head, rest) = text.split_once(README[0]).ok_or_else(lacking)?;
    let (_, tail) = rest.split_once(README[1]).ok_or_else(lacking)?;
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
        README[0],
        table(&headings, &rows),
        README[1]
    );
    fs::write(file, format!("{head}{made}{tail}")).context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_are_one() {
        assert_eq!(shortened("killed after 12.5 s\n on sda"), "killed after #.# s on sda");
        assert_eq!(shortened(&"é".repeat(500)).chars().count(), 161);
    }

    #[test]
    fn a_report_can_be_made_of_any_data() {
        let cells = [
            ("lio/one-iqn/multipath/attach/none", "bowline"),
            ("tgt/one-iqn/single/create/drop-100", "os-brick"),
        ];
        let runs: Vec<Run> = cells
            .iter()
            .map(|(cell, contender)| {
                let line = format!(
                    r#"{{"cell":"{cell}","contender":"{contender}","seed":7,"versions":{{"kernel":"6.1","open_iscsi":"2",
                    "multipath_tools":"0","contender":"x"}},"attach":{{"outcome":"ok","seconds":1.5}},"leftovers":{{}}}}"#
                );
                serde_json::from_str(&line).unwrap()
            })
            .collect();
        for runs in [&runs[..], &[]] {
            let data = Data::of(runs);
            let text = document(&data);
            assert!(text.contains("# The experiment") && text.contains("cannot say"));
            assert!(success_graph(&data).starts_with("<svg"));
        }
        let text = document(&Data::of(&runs));
        assert!(text.contains("| no fault | bowline | 1/1 | 0/1 |"), "{text}");
        assert!(text.contains("| tgt, one-iqn, single | create | os-brick |"), "{text}");
    }
}
