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
            expected: None,
            deadline: Duration::from_secs(120),
            reserve: Duration::from_secs(30),
            login: LoginPolicy::default(),
            scan_attempts: 3,
        }
    }
}

/// How a login is tried (C4): the same for single path and multipath. iscsid does the trying, since a login
/// cannot be cancelled; these become `node.session.initial_login_retry_max` and
/// `node.conn[0].timeo.login_timeout`, whose product bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginPolicy {
    /// Tries of iscsid within one login.
    pub tries: u32,
    /// Limit of one try, in whole seconds.
    pub timeout: Duration,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        Self { tries: 3, timeout: Duration::from_secs(5) }
    }
}

impl LoginPolicy {
    /// What iscsid may take before it gives up, with its own overhead: it polls a connecting socket once a
    /// second (open-iscsi 2.1.8 `usr/initiator.c`), so 2 × 5 s was seen to end after 11.7 s.
    pub fn bound(&self) -> Duration {
        (self.timeout + Duration::from_secs(1)) * self.tries + Duration::from_secs(2)
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
