//! Dirty pages: what is flushed before it is taken apart.

use std::time::Duration;

use bowline_host::names::{BlockName, DevNumber};

use super::Detach;
use crate::ledger::Ending;
use crate::plan::ours::Ours;
use crate::plan::{Draft, Step, View};
use crate::policy::OnDirty;
use crate::sabotage::{met, sabotaged};

/// Whatever has the map open after so many good flushes is no last close.
const GOOD_FLUSHES: usize = 3;

/// Disks that were used without a map are flushed by themselves; true once they all are, since a flush that fails
/// must find every disk and session as it was (D7). Disks whose map was flushed and removed are not: what they could
/// still hold would be nobody's write.
pub(super) fn flush_disks(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) -> bool {
    let mapped = goal.flushed || view.ledger.entries().iter().any(|entry| goal.removes_own_map(&entry.step));
    if mapped || goal.on_dirty == OnDirty::NothingWritten {
        return true;
    }
    met!(FlushDisks);
    // Every disk is asked about, also after one that is not flushed yet: they flush side by side.
    all_flushed(goal, ours.disks(), view, draft)
}

/// Each layer upon a device has dirty pages of its own, and is told of its own lost writes: all of them are flushed with
/// it, side by side (D7).
pub(super) fn all_flushed(
    goal: &Detach,
    devices: impl IntoIterator<Item = (BlockName, DevNumber)>,
    view: &View<'_>,
    draft: &mut Draft,
) -> bool {
    let layers = view.topology.layers.iter().map(|layer| (layer.name.clone(), layer.number));
    let all = layers.chain(devices);
    all.filter(|(name, number)| !flushed(goal, name.clone(), *number, view, draft)).count() == 0
}

/// One successful flush is owed before anything is taken apart. Force tries once, and goes on.
fn flushed(goal: &Detach, device: BlockName, number: DevNumber, view: &View<'_>, draft: &mut Draft) -> bool {
    let step = Step::Sync { device, number };
    if view.ledger.succeeded(&step) && !written_since(goal, &step, view) || sabotaged!(SkipFlush) {
        return true;
    }
    let pause = match view.ledger.last(&step) {
        Some((_, Ending::Ok)) => Duration::ZERO,
        _ => Duration::from_secs(1),
    };
    let tries = if goal.on_dirty == OnDirty::Discard { 1 } else { goal.flush_tries };
    !draft.want(view, step, tries, pause)
}

/// Whether somebody was seen to close the map after its last good flush began: what that one wrote, and may have lost, is told to
/// whoever flushes next (Linux 6.1 `errseq_sample`: an error that nobody was told of is told to who opens later). A flush waits for
/// a last close, so whatever has the map open after so many good ones is something else; the kernel refuses to remove it.
fn written_since(goal: &Detach, step: &Step, view: &View<'_>) -> bool {
    let good: Vec<_> = view.ledger.tries(step).filter(|entry| entry.is_ok()).collect();
    let since = good.last().is_some_and(|last| goal.closing.is_some_and(|seen| last.began < seen));
    if since {
        met!(WrittenSince);
    }
    since && good.len() < GOOD_FLUSHES
}
