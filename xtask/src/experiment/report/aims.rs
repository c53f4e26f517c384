//! What bowline aims at in the experiment, and whether the runs reach it.

use lab_experiment::{Cell, Contender, Fault, Paths, Run};

use super::data::{Data, is_main};
use super::goals::Goal;
use crate::experiment::matrix;

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
