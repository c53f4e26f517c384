//! The lock of open-iscsi's node database: a file that must not exist yet (2.1.8 `usr/idbm.c` `idbm_lock`, where it is a
//! hard link; paths in `usr/initiator.h`). It is no flock: a holder that dies leaves it behind, and every iscsiadm then
//! waits 30 s. So it is held for a few synchronous calls only and let go whatever happens, and ours has our process id
//! in it: the next bowline that waits for it removes it where that process is gone.

use super::IscsiError;
use crate::host::{Host, HostError, Moment};
use std::io::ErrorKind;
use std::time::Duration;

/// The file that is the lock.
pub const DATABASE_LOCK: &str = "/run/lock/iscsi/lock.write";

/// How often open-iscsi looks, too.
const POLL: Duration = Duration::from_millis(10);
/// A holder that is gone for so long is dead, and not only one whose process ids are others than ours.
const DEAD: Duration = Duration::from_secs(1);
/// Begins what we write into the lock; iscsiadm's is empty.
const OURS: &str = "bowline ";
/// Who removes a dead holder's lock holds this one of ours, so that nobody's new one is removed instead.
const BREAKING: &str = "open-iscsi-lock";

/// Does `work` under the lock, which is taken within `limit`. `work` cannot wait, so a future that is dropped cannot leave
/// the lock behind.
pub(super) async fn under(
    host: &dyn Host,
    limit: Duration,
    work: impl FnOnce() -> Result<(), IscsiError>,
) -> Result<(), IscsiError> {
    acquire(host, limit).await?;
    let worked = work();
    let released = release(host);
    worked?;
    Ok(released?)
}

async fn acquire(host: &dyn Host, limit: Duration) -> Result<(), HostError> {
    let deadline = host.now() + limit;
    let ours = format!("{OURS}{}\n", host.process_id());
    let mut dead: Option<(String, Moment)> = None;
    loop {
        match host.create_lock(DATABASE_LOCK, ours.as_bytes()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(HostError::io("take the lock", DATABASE_LOCK, error)),
        }
        let now = host.now();
        dead = match (dead_holder(host), dead) {
            (Some(holder), Some((same, since))) if holder == same => Some((same, since)),
            (holder, _) => holder.map(|holder| (holder, now)),
        };
        if let Some((holder, since)) = &dead
            && now.since(*since) >= DEAD
        {
            let _breaking = host.lock(BREAKING, limit).await?;
            if dead_holder(host).as_ref() == Some(holder) {
                release(host)?;
            }
            dead = None;
            continue;
        }
        if now >= deadline {
            return Err(HostError::timed_out("take the lock", DATABASE_LOCK, limit));
        }
        host.sleep_until((now + POLL).min(deadline)).await;
    }
}

/// What is in the lock, if a bowline made it whose process is gone.
fn dead_holder(host: &dyn Host) -> Option<String> {
    let text = String::from_utf8(host.read(DATABASE_LOCK).ok()?).ok()?;
    let process: u32 = text.strip_prefix(OURS)?.trim().parse().ok()?;
    let gone = host.list(&format!("/proc/{process}")).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    gone.then_some(text)
}

fn release(host: &dyn Host) -> Result<(), HostError> {
    host.remove_file(DATABASE_LOCK).map_err(|error| HostError::io("release the lock", DATABASE_LOCK, error))
}
