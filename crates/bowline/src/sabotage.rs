//! Deliberate faults and marks, for the proof that the simulator finds bugs and reaches every rule (bowline-sim).
//!
//! Both exist in builds with the feature `sabotage` only; without it `sabotaged!` is `false`, `met!` is nothing, and no name of
//! theirs is in the program. The state is a thread's, since one thread plays one history.

/// Whether this deliberate fault is switched on; `false` without the feature.
macro_rules! sabotaged {
    ($fault:ident) => {{
        #[cfg(feature = "sabotage")]
        {
            crate::sabotage::is_on(crate::sabotage::Sabotage::$fault)
        }
        #[cfg(not(feature = "sabotage"))]
        {
            false
        }
    }};
}

/// Notes that a rule was met; nothing without the feature.
macro_rules! met {
    ($rule:ident) => {
        #[cfg(feature = "sabotage")]
        crate::sabotage::note(crate::sabotage::Rule::$rule);
    };
}

pub(crate) use {met, sabotaged};

#[cfg(feature = "sabotage")]
mod state {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    /// Makes an enum and the list of all its names.
    macro_rules! listed {
        ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident,)* }) => {
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
            pub enum $name {
                $($(#[$each])* $variant,)*
            }

            impl $name {
                /// Every one.
                pub const ALL: &[Self] = &[$(Self::$variant,)*];
            }
        };
    }

    listed! {
        /// A deliberate fault of the engine.
        Sabotage {
            /// A record that bowline made stays.
            KeepRecord,
            /// A session that bowline made stays.
            KeepSession,
            /// A claim that nobody uses stays.
            KeepClaim,
            /// The identity stays on the wwids file.
            KeepWwid,
            /// Devices are deleted beneath a map that stays.
            KeepMap,
            /// What is left is not named.
            SayClean,
            /// Paths need not tell the same identity.
            SkipIdentity,
            /// A device that was there before is taken for the volume's.
            TrustStaleDevice,
            /// Nothing is flushed.
            SkipFlush,
            /// A flush that has told of a lost write is tried again.
            RetryLostWrite,
            /// A user of the volume is overlooked.
            OverlookUsers,
            /// A session that serves others is logged out of.
            LogOutOthers,
            /// What others had is taken for ours.
            TakeForeign,
            /// Values that were changed in others' records are not put back.
            ForgetPrior,
            /// A record of others is made anew.
            RemakeRecord,
            /// A login that may still land is not waited for.
            ForgetGhost,
            /// The deadline is overlooked.
            WaitOn,
            /// A volume is worked on without its lock.
            SkipLock,
            /// Nothing is written down before the host is changed.
            SkipIntent,
            /// It is handed out before that is written down.
            HandOutUnwritten,
            /// An interrupted connect does not clean up.
            SkipUndo,
            /// A scan for every LUN.
            ScanAll,
            /// The CHAP secret goes into a state file.
            StoreSecret,
            /// A process that died is not cleaned up behind.
            SkipInterrupted,
        }
    }

    listed! {
        /// A rule of the planner.
        Rule {
            /// C14: a portal has had its turn.
            GivenUp,
            /// A session is there, but not logged in.
            SessionComesBack,
            /// Another's login may land.
            LoginMayLand,
            /// Another process logs in, for another volume of the target.
            AnothersLogin,
            /// B1: no time is left for a login.
            NoTimeForLogin,
            /// C4: a scan that found nothing is tried again.
            ScanAgain,
            /// C4: the LUN is not exported.
            NotExported,
            /// B3: a stale device that nobody holds.
            StaleFree,
            /// B3: a stale device that somebody holds.
            StaleHeld,
            /// B3: identities differ.
            IdentityDiffers,
            /// C3: multipathd is asked for the map.
            FormMap,
            /// multipathd is told of a path.
            TellPath,
            /// C3: a path that cannot be opened keeps no other out.
            SetAside,
            /// C11: multipathd's configuration excludes it.
            Blacklisted,
            /// C11: the single device.
            SingleInstead,
            /// C16: what is connected is read.
            StillThere,
            /// C16: a single device that is attached.
            LiveSingle,
            /// C14: the host maps a single path.
            MappedAnyway,
            /// B1: fewer paths than wanted.
            TooFewPaths,
            /// The first scan goes ahead.
            FirstScan,
            /// C9: the identity is claimed.
            ClaimIdentity,
            /// D7: a live user.
            InUse,
            /// D11: a flush that failed for good.
            FlushFailed,
            /// D7: somebody has closed the map after its flush.
            WrittenSince,
            /// A map that queues with no path.
            Stuck,
            /// A map that slow readers hold.
            FailReaders,
            /// Openers that pass by.
            PassersBy,
            /// D8: a used map's disks go by force.
            TakenByForce,
            /// Disks without a map are flushed.
            FlushDisks,
            /// A release waits for what is under way.
            Busy,
            /// A scan below a lost session is not waited for.
            LostSession,
            /// A scan that a killed process began is waited for.
            ScanLingers,
            /// A disk whose SCSI device does not show any more is waited for.
            DiskLingers,
            /// A login is waited for by the iscsiadm that asked for it.
            LoginWaits,
            /// multipathd did not come to it, and device-mapper was told without it.
            WithoutMultipathd,
            /// D4: what others attached.
            Unclaimed,
            /// C1: what was there before stays.
            BroughtIn,
            /// Another volume's map, made meanwhile from what only we brought in, goes as well.
            Beside,
        }
    }

    thread_local! {
        static ON: Cell<Option<Sabotage>> = const { Cell::new(None) };
        static MET: RefCell<BTreeSet<Rule>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Switches one fault on for this thread, and all others off.
    pub fn switch(fault: Option<Sabotage>) {
        ON.set(fault);
    }

    /// What was met by this thread since this was last asked.
    pub fn take_met() -> BTreeSet<Rule> {
        MET.take()
    }

    pub(crate) fn is_on(fault: Sabotage) -> bool {
        ON.get() == Some(fault)
    }

    pub(crate) fn note(rule: Rule) {
        MET.with_borrow_mut(|met| met.insert(rule));
    }
}

#[cfg(feature = "sabotage")]
pub use state::{Rule, Sabotage, switch, take_met};
#[cfg(feature = "sabotage")]
pub(crate) use state::{is_on, note};
