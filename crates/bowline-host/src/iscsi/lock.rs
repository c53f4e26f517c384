//! The lock of open-iscsi's node database: a hard link that must not exist yet (2.1.8 `usr/idbm.c` `idbm_lock`,
//! paths in `usr/initiator.h`). It is no flock: a holder that dies leaves it behind, and every iscsiadm then
//! waits 30 s, so it is held for a few synchronous calls only and let go whatever happens.

use super::IscsiError;
use crate::host::{Host, HostError};
use std::io::ErrorKind;
use std::time::Duration;

/// The file the link is made from.
pub const DATABASE_LOCK_TARGET: &str = "/run/lock/iscsi/lock";
/// The link that is the lock. One that outlives its maker is what `recover` must recognise.
pub const DATABASE_LOCK: &str = "/run/lock/iscsi/lock.write";

/// How often open-iscsi looks, too.
const POLL: Duration = Duration::from_millis(10);

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
    loop {
        match host.hard_link(DATABASE_LOCK_TARGET, DATABASE_LOCK) {
            Ok(()) => return Ok(()),
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

fn release(host: &dyn Host) -> Result<(), HostError> {
    host.remove_file(DATABASE_LOCK).map_err(|error| HostError::io("release the lock", DATABASE_LOCK, error))
}
