//! Undoing a connect: one that fails, one whose process died, and one that broke off by a bug of ours. Nothing was handed out, so no
//! data is at stake.

use std::time::Duration;

use bowline_host::{Host, Moment};

use crate::cancel::Cancel;
use crate::connect::interrupted;
use crate::connection::Connection;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observer};
use crate::journal::{self, Attachment, Phase};
use crate::locks::lock_volume;
use crate::plan::detach::{self, Detach};
use crate::policy::{DisconnectOptions, LoginPolicy, OnDirty};
use crate::run::{Goal, Pursuit, Runner, Seen};

/// Of an attachment before this one.
pub(crate) const LOST_WRITE: &str = "a write to this volume was lost when it was last detached, and that disconnect ended before it could say so";

/// The goal turns into "as it was before" (C1): nothing was handed out, so no data is at stake.
pub(crate) async fn undo(runner: &mut Runner<'_>, end: Moment, error: Error) -> Error {
    runner.tell(Event::CleaningUp { reason: error.message.clone() });
    let back = Detach::of(runner.journal.as_ref(), OnDirty::NothingWritten);
    let (seen, waiting) = match pursue_stubbornly(runner, &back, end).await {
        Ok(Pursuit::Done(seen)) => (seen, Vec::new()),
        Ok(Pursuit::Deadline(waiting, seen)) => (seen, waiting),
        Ok(Pursuit::Refused(refused, seen)) => (seen, vec![refused.to_string()]),
        Ok(Pursuit::Cancelled) => (Seen::default(), Vec::new()),
        Err(failed) => {
            return error
                .cause(format!("cleaning up failed: {failed}"))
                .leaving(vec!["unknown: the host could not be observed".into()]);
        }
    };
    let mut error = error;
    if runner.journal.as_ref().is_some_and(|journal| journal.lost_write) {
        error = error.cause(LOST_WRITE);
    }
    let left = left_behind(runner, &back, &seen);
    if left.is_empty() {
        let given_up = detach::given_up(&runner.found_out(back.clone()), &runner.view(&seen));
        return match runner.forget() {
            Ok(()) => error.leaving(given_up),
            Err(failed) => {
                error.cause(format!("cleaning up failed: {failed}")).leaving(vec![runner.own_state()])
            }
        };
    }
    let view = runner.view(&seen);
    for failure in detach::failures(&view)
        .into_iter()
        .chain(waiting.into_iter().map(|w| format!("still waiting for {w}")))
    {
        error = error.cause(format!("cleaning up: {failure}"));
    }
    error.leaving(left).hint("connect or disconnect the same volume again: it begins with cleaning up")
}

/// A host that could not be observed once may be observable the next moment, and what was made must not stay for that.
async fn pursue_stubbornly(runner: &mut Runner<'_>, goal: &Detach, end: Moment) -> Result<Pursuit, Error> {
    let mut never = Cancel::never();
    for _ in 0..2 {
        if let Ok(pursuit) = runner.pursue(Goal::Detach(goal.clone()), end, &mut never).await {
            return Ok(pursuit);
        }
        runner.pause(Duration::from_millis(200)).await;
    }
    runner.pursue(Goal::Detach(goal.clone()), end, &mut never).await
}

fn left_behind(runner: &Runner<'_>, goal: &Detach, seen: &Seen) -> Vec<String> {
    detach::leftovers(&runner.found_out(goal.clone()), &runner.view(seen))
}

/// A process died at this volume: what it left is cleaned before anything is begun anew. Data counts unless
/// nobody was ever given the device.
pub(crate) async fn finish_interrupted(
    runner: &mut Runner<'_>,
    found: &Attachment,
    end: Moment,
    cancel: &mut Cancel,
) -> Result<(), Error> {
    runner.tell(Event::CleaningUp {
        reason: format!("an earlier process ended while {} was {}", found.id, found.phase),
    });
    runner.resumes = true;
    let on_dirty = if found.phase == Phase::Attaching { OnDirty::NothingWritten } else { OnDirty::Refuse };
    let goal = Detach::of(Some(found), on_dirty);
    runner.journal = Some(found.clone());
    match runner.pursue(Goal::Detach(goal.clone()), end, cancel).await? {
        Pursuit::Done(seen) => {
            let left = left_behind(runner, &goal, &seen);
            if left.is_empty() {
                runner.ledger = Default::default();
                return Ok(());
            }
            Err(Error::new(ErrorKind::Leftovers, "what an earlier process left could not be cleaned")
                .leaving(left))
        }
        Pursuit::Refused(error, _) => Err(error),
        Pursuit::Deadline(waiting, seen) => {
            let left = left_behind(runner, &goal, &seen);
            Err(Error::new(
                ErrorKind::NotAttached,
                "no time was left after cleaning up behind an earlier process",
            )
            .cause(waiting.join("; "))
            .leaving(left))
        }
        Pursuit::Cancelled => Err(interrupted()),
    }
}

/// For a connect that broke off by a bug of ours, which is `error`, and began `lasted` ago: what it has made is removed, once, within `limit`
/// (C1). Whatever is left is named beside the error. What was attached before stays so (C16), and so does what an earlier disconnect has left.
pub async fn undo_connect(
    host: &dyn Host,
    connection: &Connection,
    error: Error,
    lasted: Duration,
    limit: Duration,
    observer: &dyn Observer,
) -> Error {
    match undo_broken_off(host, connection, lasted, limit, observer).await {
        Ok(said) => said.into_iter().fold(error, Error::cause),
        Err(failed) => {
            let error = error.cause(format!("cleaning up failed: {failed}"));
            let left = match failed.leftovers.is_empty() {
                true => {
                    vec!["unknown: what the connect had made was not seen to be gone".into()]
                }
                false => failed.leftovers,
            };
            error.leaving(left).hint("disconnect the same volume: that takes away what is left")
        }
    }
}

/// What is to be said beside the error, once nothing is left.
async fn undo_broken_off(
    host: &dyn Host,
    connection: &Connection,
    lasted: Duration,
    limit: Duration,
    observer: &dyn Observer,
) -> Result<Vec<String>, Error> {
    let end = host.now() + limit;
    let mut never = Cancel::never();
    let busy = ErrorKind::NotAttached;
    // Its own locks went with it; whoever has come since begins with cleaning up.
    let _locks = lock_volume(host, &connection.paths, end, busy, observer, &mut never).await?;
    let Some(found) = journal::find(host, &connection.paths)? else { return Ok(Vec::new()) };
    // The journal tells seconds.
    let began = host.wall_clock().saturating_sub(lasted.as_secs() + 1);
    match found.phase {
        Phase::Attaching => {}
        Phase::Attached if found.begun < began => {
            return Ok(vec![format!("{} was attached before, and stays so", found.id)]);
        }
        // Another connect may have handed it out meanwhile, so it is not taken away.
        Phase::Attached => return Err(stays(&found, "it was attached just now, and not handed out")),
        Phase::Detaching => return Err(stays(&found, "an earlier disconnect of it has not ended")),
    }
    let (login, flush) = (LoginPolicy::default(), DisconnectOptions::default().flush_timeout);
    let mut runner = Runner::new(host, &found.id, None, login, flush, observer);
    finish_interrupted(&mut runner, &found, end, &mut never).await?;
    let lost = runner.journal.as_ref().is_some_and(|journal| journal.lost_write);
    runner.forget().map_err(|error| error.leaving(vec![runner.own_state()]))?;
    Ok(lost.then(|| LOST_WRITE.to_owned()).into_iter().collect())
}

fn stays(found: &Attachment, why: &str) -> Error {
    let device = found.map.as_ref().map_or(String::new(), |map| format!(" (multipath map {map})"));
    Error::new(ErrorKind::Leftovers, why).leaving(vec![format!("attachment {}{device}", found.id)])
}
