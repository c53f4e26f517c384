//! The verb finish (B2): a connect has handed a map out with the paths that came in time; this brings the others, and
//! outlasts the logins that are still under way, without the caller. Whoever wants the volume meanwhile gets it.

use std::time::Duration;

use bowline_host::{Host, Moment};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::event::Observer;
use crate::journal::{self, Phase};
use crate::locks::lock_volume;
use crate::plan::attach::{Attach, Enough};
use crate::policy::{ConnectOptions, DisconnectOptions, LoginPolicy, RECOVERY_BELOW_MULTIPATH};
use crate::run::{Goal, Pursuit, Runner};

/// How a finish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Every path that can be had is in the map.
    Whole,
    /// Time is up, or a path cannot be had.
    Incomplete,
    /// Somebody else wants the volume, or it is attached no more.
    GaveWay,
}

/// Adds the missing paths of an attachment until all are there, `deadline` from now is over, or another verb wants the
/// volume. It never takes anything away.
///
/// # Errors
/// When the host cannot be observed; the attachment stays as it is.
pub async fn finish(
    host: &dyn Host,
    id: &str,
    deadline: Duration,
    observer: &dyn Observer,
    mut cancel: Cancel,
) -> Result<Finished, Error> {
    let end = host.now() + deadline;
    let Some(found) = journal::load(host, id)? else { return Ok(Finished::GaveWay) };
    let busy = ErrorKind::NotAttached;
    let Some(_locks) = lock_volume(host, &found.paths, end, busy, observer, &mut cancel).await? else {
        return Ok(Finished::GaveWay);
    };
    // Read again under the locks: it may have been detached meanwhile.
    let attached =
        journal::load(host, id)?.filter(|journal| journal.phase == Phase::Attached && journal.multipath);
    let Some(journal) = attached else { return Ok(Finished::GaveWay) };
    // Every portal is tried again until the end: one that comes back is wanted.
    let login =
        LoginPolicy { rounds: u32::MAX, recovery: Some(RECOVERY_BELOW_MULTIPATH), ..LoginPolicy::default() };
    let mut runner = Runner::new(host, id, None, login, DisconnectOptions::default().flush_timeout, observer);
    let goal = goal(&journal, login, host.now(), end);
    runner.journal = Some(journal);
    runner.gives_way = true;
    Ok(match runner.pursue(Goal::Attach(goal.clone()), end, &mut cancel).await? {
        Pursuit::Done(seen) => match crate::plan::attach::missing(&goal, &runner.view(&seen)).is_empty() {
            true => Finished::Whole,
            false => Finished::Incomplete,
        },
        Pursuit::Refused(..) | Pursuit::Deadline(..) => Finished::Incomplete,
        Pursuit::Cancelled => Finished::GaveWay,
    })
}

fn goal(journal: &journal::Attachment, login: LoginPolicy, began: Moment, end: Moment) -> Attach {
    Attach {
        paths: journal.paths.clone(),
        multipath: true,
        allow_single_device: false,
        expected: journal.wwid.clone(),
        live: true,
        login,
        scan_attempts: ConnectOptions::default().scan_attempts,
        enough: Enough::All,
        began,
        logins_end: end,
        deadline: end,
    }
}
