//! The clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bowline_host::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Now on CLOCK_MONOTONIC, whose origin is the boot: moments of two hosts of one machine can be compared.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither part is negative on this clock; zero is the harmless answer to a kernel that says otherwise.
    Moment(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Seconds since 1970; 0 on a machine whose clock stands before that.
pub(crate) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Sleeps until a moment; returns at once when it has passed.
pub(crate) async fn sleep_until(moment: Moment) {
    tokio::time::sleep(moment.since(now())).await;
}
