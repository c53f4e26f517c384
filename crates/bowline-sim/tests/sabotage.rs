//! The proof that the simulator finds bugs: each deliberate fault of the engine, with a seed whose history tells of it.
//! `cargo xtask sim --sabotage` finds them anew.

use bowline::{Sabotage, switch};
use bowline_sim::drive::play;
use bowline_sim::scenario::Scenario;

/// Each fault, a seed that finds it, and the requirement by which it is told.
const FOUND: &[(Sabotage, u64)] = &[
    (Sabotage::KeepRecord, 1),
    (Sabotage::KeepSession, 1),
    (Sabotage::KeepClaim, 1),
    (Sabotage::KeepWwid, 1),
    (Sabotage::KeepMap, 2),
    (Sabotage::SayClean, 34),
    (Sabotage::SkipIdentity, 596),
    (Sabotage::TrustStaleDevice, 221),
    (Sabotage::SkipFlush, 3),
    (Sabotage::RetryLostWrite, 56),
    (Sabotage::OverlookUsers, 1),
    (Sabotage::LogOutOthers, 124),
    (Sabotage::TakeForeign, 26),
    (Sabotage::ForgetPrior, 27),
    (Sabotage::RemakeRecord, 27),
    (Sabotage::ForgetGhost, 82),
    (Sabotage::WaitOn, 185),
    (Sabotage::SkipLock, 103),
    (Sabotage::SkipIntent, 1),
    (Sabotage::HandOutUnwritten, 1),
    (Sabotage::SkipUndo, 19),
    (Sabotage::ScanAll, 1),
    (Sabotage::StoreSecret, 3),
    (Sabotage::SkipInterrupted, 81),
];

/// B16: with the fault the history is wrong, without it it is not.
#[test]
fn b16_every_deliberate_fault_is_found() {
    assert!(FOUND.len() >= 20);
    for fault in Sabotage::ALL {
        let (_, seed) = FOUND
            .iter()
            .find(|(of, _)| of == fault)
            .unwrap_or_else(|| panic!("{fault:?} has no seed: cargo xtask sim --sabotage"));
        let scenario = Scenario::of(*seed);
        switch(Some(*fault));
        let wrong = play(&scenario, false).wrongs;
        switch(None);
        assert!(!wrong.is_empty(), "{fault:?} is not found by seed {seed}: cargo xtask sim --sabotage");
        let right = play(&scenario, false).wrongs;
        assert_eq!(right, Vec::<String>::new(), "without {fault:?}: cargo xtask sim --seed {seed}");
    }
}
