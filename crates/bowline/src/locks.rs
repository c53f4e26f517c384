//! The locks of a volume: whoever works on it holds them for the whole verb.
//!
//! Lock order: volume (one lock a target and LUN, sorted by name), then portal. A process that waits for a volume
//! holds, beside each lock it waits for, the lock next to it: a finisher, whose work can wait, sees that and gives
//! way (B2).

use std::time::Duration;

use bowline_host::host::LockGuard;
use bowline_host::{Host, HostError, Moment};
use futures_util::future::{Either, select};

use crate::cancel::Cancel;
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observer};
use crate::journal;
use crate::sabotage::sabotaged;

/// The locks of a volume, held until dropped.
pub(crate) type VolumeLocks = Vec<Box<dyn LockGuard>>;

/// A lock that is free takes no time; one that is not within this is worth telling of.
const PATIENCE: Duration = Duration::from_millis(100);

/// Takes the locks of a volume, in their order; `None` when the caller asked to stop meanwhile (B7): none is held then.
/// `busy` is the kind of error when another process does not let go.
pub(crate) async fn lock_volume(
    host: &dyn Host,
    paths: &[WantedPath],
    until: Moment,
    busy: ErrorKind,
    observer: &dyn Observer,
    cancel: &mut Cancel,
) -> Result<Option<VolumeLocks>, Error> {
    let began = host.now();
    let mut guards = Vec::new();
    for volume in journal::volumes(paths) {
        if sabotaged!(SkipLock) {
            break;
        }
        let name = format!("volume-{volume}");
        let guard = match unless_stopped(cancel, host, &name, PATIENCE.min(until.since(host.now()))).await {
            Some(Err(error)) if error.is_timeout() => {
                observer.event(host.now().since(began), &Event::WaitingForLock { lock: name.clone() });
                let another = |error| {
                    Error::new(busy, "another bowline process works on this volume, and did not end in time")
                        .cause(error)
                };
                let waiting = waiting(&volume);
                let Some(waits) = unless_stopped(cancel, host, &waiting, until.since(host.now())).await
                else {
                    return Ok(None);
                };
                let _waits = waits.map_err(another)?;
                let taken = unless_stopped(cancel, host, &name, until.since(host.now())).await;
                taken.map(|taken| taken.map_err(another)).transpose()?
            }
            taken => taken.transpose()?,
        };
        let Some(guard) = guard else { return Ok(None) };
        guards.push(guard);
    }
    Ok(Some(guards))
}

/// A lock, unless the caller asks to stop, or has asked before.
async fn unless_stopped(
    cancel: &mut Cancel,
    host: &dyn Host,
    name: &str,
    limit: Duration,
) -> Option<Result<Box<dyn LockGuard>, HostError>> {
    match select(cancel, host.lock(name, limit)).await {
        Either::Left(_) => None,
        Either::Right((taken, _)) => Some(taken),
    }
}

/// Whether somebody waits for one of the volume's locks.
pub(crate) async fn is_waited_for(host: &dyn Host, paths: &[WantedPath]) -> bool {
    for volume in journal::volumes(paths) {
        if host.lock(&waiting(&volume), Duration::ZERO).await.is_err_and(|error| error.is_timeout()) {
            return true;
        }
    }
    false
}

fn waiting(volume: &str) -> String {
    format!("waiting-{volume}")
}
