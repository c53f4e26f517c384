//! What the caller chooses, and what is chosen for him.

use std::time::Duration;

use bowline_host::Wwid;

/// How a volume is to be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// A multipath map is wanted (C3); otherwise portals are tried in turn until one works (C14).
    pub multipath: bool,
    /// With multipath asked for and no map to be had, return the single device with a warning (C11).
    pub allow_single_device: bool,
    /// How many paths must be in the map (B1); 1 where it is not said. More than there are means all.
    pub min_paths: Option<u32>,
    /// How long the others are waited for once these are there. Where it is not said: not at all if `min_paths` is;
    /// else as long as the first path took, but 1 to 5 s.
    pub grace: Option<Duration>,
    /// The identity every path must have (B3).
    pub expected: Option<Wwid>,
    /// Everything ends by then (B7).
    pub deadline: Duration,
    /// Of the deadline, what is kept for cleaning up after a failure.
    pub reserve: Duration,
    /// How a login is tried.
    pub login: LoginPolicy,
    /// How often one LUN is scanned for before its path is given up (C4: not the same as logins).
    pub scan_attempts: u32,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            multipath: true,
            allow_single_device: false,
            min_paths: None,
            grace: None,
            expected: None,
            deadline: Duration::from_secs(120),
            reserve: Duration::from_secs(30),
            login: LoginPolicy::default(),
            scan_attempts: 3,
        }
    }
}

impl ConnectOptions {
    /// With another deadline: for cleaning up as large a share of a short one is kept as of the default one, and of a long one
    /// no more than that.
    #[must_use]
    pub fn by(self, deadline: Duration) -> Self {
        let usual = Self::default();
        let share = usual.reserve.as_secs_f64() / usual.deadline.as_secs_f64();
        Self { deadline, reserve: usual.reserve.min(deadline.mul_f64(share)), ..self }
    }
}

/// How a login is tried (C4): the same for single path and multipath.
///
/// A login cannot be cancelled (open-iscsi 2.1.8 `usr/initiator.c` `session_logout_task` refuses while one is under way), and
/// iscsid tries by itself within one: so a round is as short as can be, and we begin another. Whoever stops, or detaches a
/// volume one of whose portals is dead, has to wait for the round that is under way: one that outlives its process ends by
/// [`LoginPolicy::bound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginPolicy {
    /// Logins of ours, one after the other.
    pub rounds: u32,
    /// Tries of iscsid within one login (`node.session.initial_login_retry_max`).
    pub tries: u32,
    /// Limit of one try, in whole seconds (`node.conn[0].timeo.login_timeout`).
    pub timeout: Duration,
    /// How long a session that is lost has to come back before the kernel hands back what is under way below it, in whole seconds
    /// (`node.session.timeo.replacement_timeout`). Where it is not said: as iscsid.conf has it, 120 s as packaged.
    pub recovery: Option<Duration>,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        Self { rounds: 8, tries: 1, timeout: Duration::from_secs(5), recovery: None }
    }
}

/// A session of a volume that will have a map has so long to come back. multipathd sets it to 5 s (its `fast_io_fail_tmo`, 0.9.4
/// `libmultipath/discovery.c`), but for disks in a map only: before, a portal that dies holds multipathd up, and with it every other path, for
/// as long as the session may come back. Long enough for several tries of iscsid on a network that loses packets. A shorter time of the administrator's stays.
pub const RECOVERY_BELOW_MULTIPATH: Duration = Duration::from_secs(20);

impl LoginPolicy {
    /// What iscsid may take for one login before it gives up, with its own overhead: it polls a connecting socket once
    /// a second (open-iscsi 2.1.8 `usr/initiator.c`), so 2 × 5 s was seen to end after 11.7 s.
    pub fn bound(&self) -> Duration {
        (self.timeout + Duration::from_secs(1)) * self.tries + Duration::from_secs(2)
    }

    /// The policy cut down to a time: fewer rounds, then fewer tries, then shorter ones, but one of a second at least.
    /// Logins that are not over when their time is up could not be cleaned up behind.
    #[must_use]
    pub fn within(mut self, budget: Duration) -> Self {
        while self.bound() > budget {
            match (self.tries, self.timeout.as_secs()) {
                (0..=1, 0..=1) => break,
                (0..=1, seconds) => self.timeout = Duration::from_secs(seconds - 1),
                (tries, _) => self.tries = tries - 1,
            }
        }
        let fitting = budget.as_millis() / self.bound().as_millis().max(1);
        self.rounds = self.rounds.min(u32::try_from(fitting).unwrap_or(u32::MAX)).max(1);
        self
    }
}

/// What becomes of data that cannot be written (D7, D8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDirty {
    /// Stop, and leave everything as it is.
    Refuse,
    /// Nobody has written to this device: it was never handed out. No flush is owed.
    NothingWritten,
    /// A clean host matters more than the data.
    Discard,
}

/// How a volume is to be detached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectOptions {
    /// What becomes of data that cannot be written.
    pub on_dirty: OnDirty,
    /// One try of a flush (D11).
    pub flush_timeout: Duration,
    /// How many tries of a flush.
    pub flush_tries: u32,
    /// Everything ends by then (B7).
    pub deadline: Duration,
}

impl Default for DisconnectOptions {
    fn default() -> Self {
        Self {
            on_dirty: OnDirty::Refuse,
            flush_timeout: Duration::from_secs(120),
            flush_tries: 3,
            deadline: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C4, B1: the tries are cut to what the deadline leaves, and one is always left.
    #[test]
    fn b1_a_login_is_bounded_by_what_the_deadline_leaves() {
        let policy = LoginPolicy::default();
        assert_eq!(policy.within(Duration::from_secs(90)), policy);
        assert_eq!(policy.within(Duration::from_secs(15)).rounds, 1);
        for seconds in 4..90 {
            let budget = Duration::from_secs(seconds);
            let cut = policy.within(budget);
            assert!(cut.bound() * cut.rounds <= budget && cut.rounds >= 1, "{seconds} s: {cut:?}");
        }
        let least = policy.within(Duration::ZERO);
        assert_eq!((least.rounds, least.tries, least.timeout.as_secs()), (1, 1, 1));
    }
}
