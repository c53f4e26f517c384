//! Exit codes of iscsiadm, by name, and how an ended call becomes a result.
//!
//! iscsiadm tells how it ended by its exit code alone: its text has changed between releases, the codes
//! (open-iscsi 2.1.8 `include/iscsi_err.h`; the same in 2.1.11) have only grown.

use std::fmt;

use super::lock;
use crate::host::{Ended, Host, HostError, Program};

/// How an iscsiadm call failed. No variant holds a secret: none is ever an argument (B8).
#[derive(Debug, thiserror::Error)]
pub enum IscsiError {
    /// It ran, and failed.
    #[error("iscsiadm {command}: {code}: {message}")]
    Failed {
        /// The call, without the name of the program.
        command: String,
        /// Its exit code.
        code: Iscsiadm,
        /// What it said: the line that reports the error, or else its last line.
        message: String,
    },
    /// It could not be run, or did not end, or a file could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl IscsiError {
    /// The exit code, if iscsiadm ran to its end.
    pub fn code(&self) -> Option<Iscsiadm> {
        match self {
            Self::Failed { code, .. } => Some(*code),
            Self::Host(_) => None,
        }
    }
}

/// Makes the enum, its numbers and its words from one table, so that none can be forgotten.
macro_rules! exit_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $words:literal;)*) => {
        /// iscsiadm's exit codes other than 0.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Iscsiadm {
            $($(#[$doc])* $name,)*
            /// A code that open-iscsi 2.1.8 does not have.
            Other(i32),
        }

        impl Iscsiadm {
            /// The code by its number.
            pub fn from_code(code: i32) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Other(other),
                }
            }

            /// The number.
            pub fn code(self) -> i32 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }

            fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                    Self::Other(_) => "an exit code we do not know",
                }
            }
        }
    };
}

exit_codes! {
    /// 1: nothing more is known.
    Generic = 1, "failed";
    /// 2: the session is not there (any more).
    NoSession = 2, "no such session";
    /// 3
    NoMemory = 3, "out of memory";
    /// 4: the TCP connection could not be made, or broke.
    Transport = 4, "connection failed";
    /// 5: the login was refused for a reason that may pass.
    Login = 5, "login failed";
    /// 6: the node database or its lock.
    Database = 6, "node database error";
    /// 7: an argument, or a setting's name or value.
    Invalid = 7, "invalid parameter";
    /// 8: the portal did not answer in time.
    ConnectTimedOut = 8, "connection timed out";
    /// 9: an error inside iscsid; also a logout while the login is still under way.
    Internal = 9, "internal error of iscsid";
    /// 10
    Logout = 10, "logout failed";
    /// 11: the target did not answer a request in time.
    PduTimedOut = 11, "target did not answer in time";
    /// 12: the kernel module of the transport is missing.
    NoTransport = 12, "transport not available";
    /// 13: iscsid talks to root only.
    Access = 13, "access denied";
    /// 14: the transport cannot do what was asked.
    TransportCapability = 14, "not a capability of the transport";
    /// 15: a session exists, or a login to make it is under way (it is not yet a session that is logged in).
    /// For a deletion: the record is in use by a session.
    SessionExists = 15, "session exists";
    /// 16
    InvalidRequest = 16, "unknown request";
    /// 17
    IsnsUnavailable = 17, "iSNS is not supported";
    /// 18: iscsid was there, but the talk with it broke.
    IscsidTalkFailed = 18, "iscsid stopped answering";
    /// 19: the target refused for good (target or portal group unknown, initiator not allowed, …).
    FatalLogin = 19, "login refused";
    /// 20: iscsid does not run, or its socket is not open.
    IscsidNotRunning = 20, "iscsid is not reachable";
    /// 21: no record, session or portal matched.
    NoObjects = 21, "nothing found to act upon";
    /// 22: sysfs had not what was looked for: often something that went away meanwhile.
    SysfsLookup = 22, "not found in sysfs";
    /// 23
    HostNotFound = 23, "SCSI host not found";
    /// 24: CHAP failed, or the target does not let this initiator in.
    Authentication = 24, "authentication failed";
    /// 25
    IsnsQuery = 25, "iSNS query failed";
    /// 26
    IsnsRegistration = 26, "iSNS registration failed";
    /// 27: neither iscsid nor the transport can do it.
    NotSupported = 27, "operation not supported";
    /// 28: the session's devices are in use (only where `iscsid.safe_logout` is on), or a resource is busy.
    Busy = 28, "in use";
    /// 29
    Again = 29, "failed for the moment";
    /// 30
    UnknownDiscovery = 30, "unknown kind of discovery";
    /// 31
    ChildTerminated = 31, "a child of iscsiadm was ended";
    /// 32: the session has no connection just now.
    NotConnected = 32, "session not connected";
    /// 33: iscsid did not answer iscsiadm in time.
    RequestTimedOut = 33, "iscsid did not answer in time";
}

impl Iscsiadm {
    /// Whether the same login tried again cannot succeed until somebody changes something: CHAP, access rights,
    /// the record, the target's configuration, a kernel module. [`Self::FatalLogin`] is among them although
    /// a target that is just being exported answers it too. Not among them: what concerns the network
    /// or iscsid's absence (it may be started on demand), and [`Self::SessionExists`], which is no failure.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Invalid
                | Self::NoTransport
                | Self::Access
                | Self::TransportCapability
                | Self::FatalLogin
                | Self::NoObjects
                | Self::Authentication
                | Self::NotSupported
        )
    }

    /// Whether iscsid itself could not be reached (18 and 20): no portal is to blame.
    pub fn is_iscsid_unreachable(self) -> bool {
        matches!(self, Self::IscsidTalkFailed | Self::IscsidNotRunning)
    }
}

impl fmt::Display for Iscsiadm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.words(), self.code())
    }
}

/// What an ended iscsiadm comes to.
pub(super) fn outcome(program: &Program, ended: &Ended) -> Result<(), IscsiError> {
    match ended.code {
        Some(0) => Ok(()),
        Some(code) => Err(IscsiError::Failed {
            command: program.args.join(" "),
            code: Iscsiadm::from_code(code),
            message: message_of(&ended.stderr),
        }),
        None => Err(HostError::unavailable("run", program.to_string(), "a signal ended it").into()),
    }
}

/// Runs iscsiadm and takes the codes in `harmless` for success. It would wait for a lock that a bowline left behind.
pub(super) async fn run(host: &dyn Host, program: Program, harmless: &[Iscsiadm]) -> Result<(), IscsiError> {
    lock::break_dead(host)?;
    let ended = host.run(&program).await?;
    match outcome(&program, &ended) {
        Err(IscsiError::Failed { code, .. }) if harmless.contains(&code) => Ok(()),
        other => other,
    }
}

/// The line worth showing. After a failed login the last line says only that some portal failed; the line with
/// "reported error" says why.
fn message_of(stderr: &str) -> String {
    let mut lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    let last = lines.clone().next().unwrap_or("it said nothing");
    let line = lines.find(|line| line.contains("reported error")).unwrap_or(last);
    let line = line.strip_prefix("iscsiadm: ").unwrap_or(line);
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ended(code: Option<i32>, stderr: &str) -> Ended {
        Ended { code, stdout: String::new(), stderr: stderr.into() }
    }

    fn program() -> Program {
        let args = vec!["-m".into(), "node".into()];
        Program { name: "iscsiadm", args, limit: Duration::from_secs(1), abandon: true, keeps_locks: true }
    }

    #[test]
    fn every_code_of_2_1_8_has_a_name_and_keeps_its_number() {
        for code in 1..=33 {
            assert!(!matches!(Iscsiadm::from_code(code), Iscsiadm::Other(_)), "{code}");
            assert_eq!(Iscsiadm::from_code(code).code(), code);
        }
        assert_eq!(Iscsiadm::from_code(34), Iscsiadm::Other(34));
        assert_eq!(Iscsiadm::from_code(-1).code(), -1);
    }

    #[test]
    fn the_words_are_for_people() {
        assert_eq!(Iscsiadm::SessionExists.to_string(), "session exists (15)");
        assert_eq!(Iscsiadm::from_code(24).to_string(), "authentication failed (24)");
    }

    #[test]
    fn only_what_needs_a_change_is_final() {
        assert!(Iscsiadm::Authentication.is_final() && Iscsiadm::FatalLogin.is_final());
        assert!(!Iscsiadm::ConnectTimedOut.is_final() && !Iscsiadm::IscsidNotRunning.is_final());
        assert!(Iscsiadm::IscsidNotRunning.is_iscsid_unreachable());
    }

    #[test]
    fn the_message_is_the_line_that_says_why() {
        let text = include_str!("../../../../testdata/iscsiadm/2.1.8/login-authentication.stderr");
        let error = outcome(&program(), &ended(Some(24), text)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "iscsiadm -m node: authentication failed (24): initiator reported error \
             (24 - iSCSI login failed due to authorization failure)"
        );
        assert_eq!(error.code(), Some(Iscsiadm::Authentication));
    }

    #[test]
    fn a_signal_is_no_exit_code() {
        let error = outcome(&program(), &ended(None, "")).unwrap_err();
        assert!(error.code().is_none());
        assert!(outcome(&program(), &ended(Some(0), "noise")).is_ok());
    }
}
