//! What bowline aims at in the experiment, and whether the runs reach it.

use lab_experiment::{Cell, Contender, Fault, Paths, Run, Work};

use super::data::Data;
use super::goals::Goal;
use super::summary::{Spread, Summary, as_f64, whole};
use crate::experiment::matrix::{self, MAIN};

/// What bowline's command and its library shall reach, over all cells.
pub fn aims(data: &Data<'_>) -> Vec<Goal> {
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
    // Only of runs that can tell: where nothing was attached nothing could be another's or lost.
    let of_those = |aim, of: &dyn Fn(&Run) -> bool, good: &dyn Fn(&Run) -> bool| {
        let (good, of) = count(of, good);
        Goal::all(aim, good, of).missing(missing(&|_| true))
    };
    let most = |aim, fault: Fault| {
        let (attached, tried) = count(&|run| run.fault() == fault, &Run::attached);
        Goal::share(aim, attached, tried, 95).missing(missing(&|cell| cell.fault == fault))
    };
    let multipath = |cell: Cell| cell.paths == Paths::Multipath;
    let (maps, handed_out) = count(&|run| run.attached() && multipath(run.wish.cell), &|run| {
        run.handed_out.as_ref().is_some_and(|out| out.map)
    });
    let detached = |run: &Run| run.data.as_ref().is_some_and(|data| data.on_target.is_some());
    let mut aims = vec![
        all(
            "nothing is left over in any run, not even a line in multipath's list of WWIDs, nor a part by a detach that fails",
            &|_| true,
            &|run| run.spotless() && !run.stopped_half_way(),
        )
        .because(NAMELESS),
        all(
            "attach succeeds where at least one portal is clean",
            &|cell| a_portal_is_clean(cell.fault),
            &Run::attached,
        ),
        // With force, data that was under way when all paths died may be given up.
        all(
            "and with it all the rest: the volume is written, read and detached, the target has it, nothing is left",
            &|cell| a_portal_is_clean(cell.fault) && cell.fault != Fault::DirtyAllDead,
            &whole,
        )
        .because(NAMELESS),
        most("attach succeeds in 95 % with 10 % dropped on all portals", Fault::Drop10),
        most("attach succeeds in 95 % with 20 % dropped on all portals", Fault::Drop20),
        Goal::all("every multipath attach hands out a map", maps, handed_out).missing(missing(&multipath)),
        of_those(
            "what is handed out is the volume that was asked for, and no disk that another has left",
            &Run::attached,
            &|run| run.handed_out.as_ref().is_some_and(|out| out.right_volume == Some(true) && !out.stale),
        ),
        all("no call hangs, and none ends without an answer", &|_| true, &|run| !run.hung()),
        of_those(
            "what is read through the device is what was written",
            &|run| run.data.as_ref().is_some_and(|data| data.read_back.is_some()),
            &|run| !run.differs(),
        ),
        of_those(
            "after a detach that says it succeeded what was written is on the target, or the detach says that it may not be",
            &detached,
            &|run| !run.lost_untold(),
        ),
        of_those(
            "the same where all paths died while data was under way",
            &|run| run.fault() == Fault::DirtyAllDead && detached(run),
            &|run| !run.lost_untold(),
        )
        .missing(missing(&|cell| cell.fault == Fault::DirtyAllDead)),
        all(
            "with every packet dropped it fails by its deadline (120 s), clean",
            &|cell| cell.fault == Fault::Drop100,
            &|run| !run.attached() && run.attach.seconds <= 120.0 && run.spotless(),
        ),
    ];
    let command = data.runs.iter().filter(|run| run.wish.contender == Contender::Bowline);
    let most = command.flat_map(|run| run.calls().filter_map(|call| call.memory)).max();
    let mib = most.map(|kib| as_f64(kib) / 1024.0);
    aims.push(Goal::at_most(
        "memory of the command, with its helper: at most 16 MiB in any run",
        mib,
        16.0,
        " MiB",
    ));
    aims.extend(Work::ALL.map(|work| detach_beside_os_brick(data, work)));
    aims
}

/// Of the aim that nothing is left.
const NAMELESS: &str = "where iscsid is killed between making a session and telling the kernel its target's name, the session stays in sysfs, free, without connection, \
    device or name, until a reboot: the new iscsid does not know it, and nobody can tell whose it is (findings.md, *A session that iscsid does not \
    live to name*)";

/// At 10 % loss, each use by itself: os-brick's times are of two kinds, of which each use has another share.
fn detach_beside_os_brick(data: &Data<'_>, work: Work) -> Goal {
    let here = MAIN.cell(work, Fault::Drop10);
    let (ours, theirs) = (data.get(here, Contender::Bowline), data.get(here, Contender::OsBrick));
    let median = |one: Option<&Summary>| Some(Spread::of(&one?.detach_seconds)?.median);
    let ratio = || Some(median(ours)? / median(theirs)?);
    let lacking = |who| matrix::lacking(|cell| cell == here, who, data.runs);
    let aim = match work {
        Work::Create => {
            "10 % dropped on all portals, create: a detach takes at most a third of os-brick's time (medians)"
        }
        Work::Attach => {
            "10 % dropped on all portals, attach: a detach takes at most a third of os-brick's time (medians)"
        }
    };
    Goal::at_most(aim, ratio(), 1.0 / 3.0, " ×")
        .missing(lacking(Contender::Bowline) + lacking(Contender::OsBrick))
        .failed(ours.map_or(0, |one| one.attached - one.detached))
        .because(
            "where os-brick's first `multipath -f` succeeds it does not wait, and takes as long as without loss (see below the tables)",
        )
}

/// Whether a portal works as it should, and nothing else stands in the way of an attach: daemons that come back do not, a
/// node database that cannot be written does, and another volume's disk at the LUN, where bowline refuses on purpose.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(who: &str, fault: &str, rest: &str) -> Run {
        let (fault, work) = fault.split_once('/').unwrap();
        serde_json::from_str(&format!(
            r#"{{"cell":"lio/one-iqn/multipath/{work}/{fault}","contender":"{who}","seed":7,"struck":0.5,"versions":
            {{"kernel":"","open_iscsi":"","multipath_tools":"","contender":""}},{rest}}}"#
        ))
        .unwrap()
    }

    /// One that attached, wrote and detached within so many seconds.
    fn attached(who: &str, fault: &str, out: &str, data: &str, detach: f64) -> Run {
        let rest = format!(
            r#""attach":{{"outcome":"ok","seconds":2,"memory":5000}},"handed_out":{{"paths":4,"paths_later":4,{out}}},
            "data":{{"bytes":1,"write_seconds":1,{data}}},"detach":{{"outcome":"ok","seconds":{detach}}},"leftovers":{{}}"#
        );
        run(who, fault, &rest)
    }

    const RIGHT: &str = r#""map":true,"right_volume":true"#;
    const THERE: &str = r#""read_back":true,"on_target":true"#;

    fn failed(fault: &str, outcome: &str, seconds: u32, left: &str) -> Run {
        let attach = format!(r#""attach":{{"outcome":"{outcome}","seconds":{seconds},"memory":20000}}"#);
        run("bowline", fault, &format!(r#"{attach},"leftovers":{{{left}}}"#))
    }

    #[test]
    fn every_aim_can_be_reached() {
        let runs = [
            attached("bowline", "none/attach", RIGHT, THERE, 1.0),
            attached("bowline", "drop-10/attach", RIGHT, THERE, 1.0),
            attached("bowline", "drop-10/create", RIGHT, THERE, 1.0),
            attached("bowline", "drop-20/create", RIGHT, THERE, 1.0),
            attached("bowline", "dirty-all-dead/attach", RIGHT, THERE, 1.0),
            run("bowline", "drop-100/attach", r#""attach":{"outcome":"failed","seconds":50},"leftovers":{}"#),
            attached("os-brick", "drop-10/attach", RIGHT, THERE, 60.0),
            attached("os-brick", "drop-10/create", RIGHT, THERE, 60.0),
        ];
        for goal in aims(&Data::of(&runs)) {
            assert_eq!(goal.reached, Some(true), "{}: {}", goal.aim, goal.seen);
        }
    }

    #[test]
    fn every_aim_can_be_missed() {
        let runs = [
            failed("none/create", "failed", 2, r#""wwids":1"#),
            failed("drop-10/create", "failed", 2, ""),
            failed("drop-20/create", "killed", 2, ""),
            failed("drop-100/attach", "failed", 130, ""),
            attached("bowline", "none/attach", r#""map":false,"right_volume":null"#, THERE, 1.0),
            attached("bowline", "none/attach", RIGHT, r#""read_back":false,"on_target":false"#, 1.0),
            attached("bowline", "dirty-all-dead/attach", RIGHT, r#""read_back":null,"on_target":false"#, 1.0),
            attached("bowline", "drop-10/attach", RIGHT, THERE, 30.0),
            attached("bowline", "drop-10/create", RIGHT, THERE, 30.0),
            attached("os-brick", "drop-10/attach", RIGHT, THERE, 60.0),
            attached("os-brick", "drop-10/create", RIGHT, THERE, 60.0),
        ];
        for goal in aims(&Data::of(&runs)) {
            assert_eq!(goal.reached, Some(false), "{}: {}", goal.aim, goal.seen);
        }
    }
}
