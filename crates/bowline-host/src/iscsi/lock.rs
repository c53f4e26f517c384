//! The lock of open-iscsi's node database: a file that must not exist yet (2.1.8 `usr/idbm.c` `idbm_lock`, where it is a
//! hard link; paths in `usr/initiator.h`). It is no flock: a holder that dies leaves it behind, and every iscsiadm then
//! waits 30 s for it and, with 2.1.11, fails (code 6). So it is held for a few synchronous calls only, and ours is marked: whoever of us
//! meets it after its holder has died removes it, before taking it and before running an iscsiadm that would wait.

use super::IscsiError;
use crate::host::{Host, HostError, LockGuard};
use std::io::ErrorKind;
use std::time::Duration;

/// The file that is the lock.
pub const DATABASE_LOCK: &str = "/run/lock/iscsi/lock.write";

/// How often open-iscsi looks, too.
const POLL: Duration = Duration::from_millis(10);
/// Begins what we write into the lock; iscsiadm's is empty.
const OURS: &[u8] = b"bowline ";

/// Does `work` under the lock, which is taken within `limit`. `work` cannot wait, so a future that is dropped cannot leave
/// the lock behind.
pub(super) async fn under(
    host: &dyn Host,
    limit: Duration,
    work: impl FnOnce() -> Result<(), IscsiError>,
) -> Result<(), IscsiError> {
    let _held = acquire(host, limit).await?;
    let worked = work();
    let released = host
        .remove_file(DATABASE_LOCK)
        .map_err(|error| HostError::io("release the lock", DATABASE_LOCK, error));
    worked?;
    Ok(released?)
}

async fn acquire(host: &dyn Host, limit: Duration) -> Result<Box<dyn LockGuard>, HostError> {
    let deadline = host.now() + limit;
    // The process id is for people only.
    let ours = [OURS, format!("{}\n", host.process_id()).as_bytes()].concat();
    loop {
        break_dead(host)?;
        match host.create_lock(DATABASE_LOCK, &ours) {
            Ok(held) => return Ok(held),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(HostError::io("take the lock", DATABASE_LOCK, error)),
        }
        let now = host.now();
        if now >= deadline {
            return Err(HostError::timed_out("take the lock", DATABASE_LOCK, limit));
        }
        host.sleep_until((now + POLL).min(deadline)).await;
    }
}

/// Removes the lock of a bowline that died. One that is held, and one that is not ours, stays.
pub(super) fn break_dead(host: &dyn Host) -> Result<(), HostError> {
    host.break_lock(DATABASE_LOCK, OURS)
        .map_err(|error| HostError::io("remove a dead process's lock", DATABASE_LOCK, error))
}
