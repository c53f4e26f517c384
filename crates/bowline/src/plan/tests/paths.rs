//! How one path gets from nothing to a disk: C4, C12, C13, C15, B7.

use std::time::Duration;

use bowline_host::iscsi::SessionState;
use bowline_host::scsi::DeviceState;
use bowline_host::{Lun, ScsiHost};

use super::build::*;
use crate::ledger::Ending;
use crate::plan::attach::Attach;
use crate::plan::path::{Progress, progress, unproven};
use crate::plan::{Step, backoff};
use crate::policy::LoginPolicy;

fn of<'a>(world: &'a World, goal: &Attach, n: u8) -> Progress<'a> {
    progress(goal, &path(n), &world.view())
}

#[track_caller]
fn failure(world: &World, goal: &Attach) -> String {
    match of(world, goal, 1) {
        Progress::Failed(why) => why,
        other => panic!("expected a failed path, not {other:?}"),
    }
}

fn both() -> [Attach; 2] {
    [attach_to(&[1]), single_to(&[1])]
}

/// C15: a login without our record, or before it is set, would bring in every LUN.
#[test]
fn c15_no_login_before_the_record_is_claimed_and_set() {
    for goal in both() {
        assert_eq!(of(&World::new(), &goal, 1), Progress::Needs(prepare(1)));
        let unclaimed = World::new().prepared(1).claimed_by(1, &["bl-somebodyelse"]);
        assert_eq!(of(&unclaimed, &goal, 1), Progress::Needs(prepare(1)));
        let being_set = World::new().prepared(1).running(prepare(1));
        assert!(matches!(of(&being_set, &goal, 1), Progress::Waits { .. }));
        let made_but_not_set = World::new().prepared(1).failed(prepare(1));
        assert!(matches!(of(&made_but_not_set, &goal, 1), Progress::Waits { wake: Some(_), .. }));
        assert_eq!(of(&made_but_not_set.after_ms(5000), &goal, 1), Progress::Needs(prepare(1)));
        let set = World::new().prepared(1).ok(prepare(1));
        assert_eq!(of(&set, &goal, 1), Progress::Needs(login(1)));
    }
}

/// C15: an old open-iscsi scans by itself: below a session of our own making what comes in is new, and not stale.
#[test]
fn c15_a_device_below_a_session_of_our_making_is_trusted() {
    for goal in both() {
        let new = World::new().logged_in(1).disk(1).ok(login(1));
        assert!(matches!(of(&new, &goal, 1), Progress::Present(_)));
        for before in [World::new().logged_in(1).disk(1), World::new().logged_in(1).disk(1).failed(login(1))]
        {
            assert_eq!(of(&before, &goal, 1), Progress::Needs(delete(1)));
        }
    }
}

#[test]
fn c4_a_refused_login_ends_the_path_in_both_modes_alike() {
    let world = World::new().prepared(1).ended(login(1), Ending::Final("authentication failed".into()));
    let told: Vec<String> = both().iter().map(|goal| failure(&world, goal)).collect();
    assert_eq!(told, ["login: authentication failed", "login: authentication failed"]);
}

#[test]
fn c4_a_login_that_may_work_later_is_tried_as_often_in_both_modes() {
    let once = World::new().prepared(1).failed(login(1));
    for goal in both() {
        assert!(matches!(of(&once, &goal, 1), Progress::Waits { wake: Some(_), .. }), "not at once");
        assert_eq!(of(&once.clone().after_ms(5000), &goal, 1), Progress::Needs(login(1)));
        let rounds =
            (1..goal.login.rounds).fold(once.clone(), |world, _| world.after_ms(5000).failed(login(1)));
        assert_eq!(failure(&rounds, &goal), "login: it failed");
    }
}

/// B1: a portal that was healed is logged in to soon, however often it was tried: a login that got no answer has taken its time.
#[test]
fn b1_a_login_that_took_its_time_is_tried_again_at_once_and_one_that_did_not_every_three_seconds() {
    for (took, waits) in [(6000, 700), (10, 3000)] {
        let mut world = World::new().prepared(1);
        for _ in 0..5 {
            world = world.running(login(1)).after_ms(took);
            world.ledger.end(&login(1), world.now, Ending::Failed("no answer".into()));
            world = world.after_ms(waits);
            assert_eq!(of(&world, &attach_to(&[1]), 1), Progress::Needs(login(1)));
        }
    }
}

/// C4: nobody was asked, so no try of a login is lost: an iscsid that is being restarted is waited for.
#[test]
fn c4_an_iscsid_that_is_away_for_seven_seconds_is_waited_for() {
    let once = Attach { login: LoginPolicy { rounds: 1, ..LoginPolicy::default() }, ..attach_to(&[1]) };
    let mut world = World::new().prepared(1);
    let began = world.now;
    while of(&world, &once, 1) == Progress::Needs(login(1)) {
        world = world.ended(login(1), Ending::Host("iscsid does not run".into()));
        if let Progress::Waits { wake: Some(wake), .. } = of(&world, &once, 1) {
            world.now = wake;
        }
    }
    assert!(world.now.since(began) > Duration::from_secs(7));
    assert_eq!(failure(&world, &once), "login: iscsid does not run");
}

/// B2, C15: a record that another process has made need not have been set; only a login tells that it was.
#[test]
fn c15_a_record_that_was_made_and_not_set_is_set_before_a_login() {
    let mut world = World::new().prepared(1);
    assert_eq!(of(&world, &attach_to(&[1]), 1), Progress::Needs(login(1)));
    world.claims.get_mut(&endpoint(1)).unwrap().prepared = false;
    assert_eq!(of(&world, &attach_to(&[1]), 1), Progress::Needs(prepare(1)));
    assert_eq!(of(&world.ok(prepare(1)), &attach_to(&[1]), 1), Progress::Needs(login(1)));
}

/// B3: a device that no scan of ours has brought in proves nothing, neither an identity nor a map.
#[test]
fn b3_a_device_of_before_proves_nothing() {
    let mut world = World::new().logged_in(1).disk(1).logged_in(2).disk(2).ok(scan(2));
    let goal = attach_to(&[1, 2]);
    let live = Attach { live: true, ..goal.clone() };
    assert_eq!(unproven(&goal, &world.ledger, &world.claims, ID), [endpoint(1)].into());
    assert_eq!(unproven(&live, &world.ledger, &world.claims, ID), [].into());
    // C15: with a session of ours an old open-iscsi has brought it in.
    world.claims.get_mut(&endpoint(1)).unwrap().scans_by_itself = true;
    assert_eq!(unproven(&goal, &world.ledger, &world.claims, ID), [].into());
}

/// C4: the number of scans is a setting of its own.
#[test]
fn c4_scan_attempts_do_not_depend_on_login_tries() {
    for (attempts, rounds) in [(1, 9), (5, 1)] {
        let login = LoginPolicy { rounds, ..LoginPolicy::default() };
        let goal = Attach { scan_attempts: attempts, login, ..attach_to(&[1]) };
        let mut world = World::new().logged_in(1);
        for _ in 0..attempts {
            assert_eq!(of(&world, &goal, 1), Progress::Needs(scan(1)));
            world = world.ok(scan(1)).after_ms(7000);
        }
        assert!(failure(&world, &goal).contains("LUN 1 is not there"));
    }
}

#[test]
fn c12_a_scan_names_host_and_lun() {
    let world = World::new().logged_in(1);
    let Progress::Needs(Step::Scan { endpoint: of_path, scsi_host, lun }) = of(&world, &attach_to(&[1]), 1)
    else {
        panic!("a session without a device is scanned");
    };
    assert_eq!((of_path, scsi_host, lun), (endpoint(1), ScsiHost(1), Lun(1)));
}

/// C13: several portals share the IQN here, and each session's own host is scanned.
#[test]
fn c13_every_session_gets_its_own_scan() {
    let world = World::new().on_file().logged_in(1).logged_in(2).logged_in(3);
    let goal = Attach { expected: Some(wwid()), ..attach_to(&[1, 2, 3]) };
    assert_eq!(steps(world.attach(&goal)), [1, 2, 3].map(scan));
}

/// C13: and several IQNs at one address.
#[test]
fn c13_a_scan_never_goes_to_another_target_s_host() {
    let mut goal = attach_to(&[1, 1]);
    goal.paths[1].endpoint.iqn = "iqn.2026-11.net.example:volume-2".parse().unwrap();
    goal.expected = Some(wwid());
    let mut world = World::new().on_file().logged_in(1).logged_in(2);
    world.session_mut(2).session.endpoint = goal.paths[1].endpoint.clone();
    let mut claim = world.claims.remove(&endpoint(2)).unwrap();
    claim.endpoint = goal.paths[1].endpoint.clone();
    world.claims.insert(claim.endpoint.clone(), claim);
    let hosts: Vec<_> = steps(world.attach(&goal))
        .into_iter()
        .map(|step| match step {
            Step::Scan { endpoint, scsi_host, .. } => (endpoint.iqn.to_string(), scsi_host.0),
            other => panic!("expected a scan, not {other}"),
        })
        .collect();
    let expected = [("iqn.2026-11.net.example:volume-1", 1), ("iqn.2026-11.net.example:volume-2", 2)];
    assert_eq!(hosts, expected.map(|(iqn, host)| (iqn.to_owned(), host)));
}

/// C13: the other scans wait for the first one's identity, but not for a path that does not answer.
#[test]
fn c13_a_scan_that_hangs_holds_up_the_others_for_a_moment_only() {
    let world = World::new().logged_in(1).logged_in(2).logged_in(3);
    assert_eq!(steps(world.attach(&attach_to(&[1, 2, 3]))), [scan(1)]);
    let world = world.running(scan(1));
    assert_eq!(steps(world.attach(&attach_to(&[1, 2, 3]))), []);
    assert_eq!(steps(world.after_ms(2000).attach(&attach_to(&[1, 2, 3]))), [2, 3].map(scan));
}

/// C4: iscsiadm's 15 means that a login is under way, not that it is done.
#[test]
fn c4_a_session_that_exists_is_used_only_once_it_is_logged_in() {
    let exists = World::new().prepared(1).session(1, SessionState::Free);
    let exists = exists.ended(login(1), Ending::Skipped("session exists".into()));
    assert!(matches!(of(&exists, &attach_to(&[1]), 1), Progress::Waits { wake: Some(_), .. }));
    let up = exists.clone().session_is(1, SessionState::LoggedIn);
    assert_eq!(of(&up, &attach_to(&[1]), 1), Progress::Needs(scan(1)));
    let LoginPolicy { rounds, .. } = LoginPolicy::default();
    let bound = LoginPolicy::default().bound().as_millis() as u64 + 10_000;
    let again = exists.clone().after_ms(bound);
    assert_eq!(of(&again, &attach_to(&[1]), 1), Progress::Needs(login(1)), "that login may be over by now");
    let never = (1..rounds).fold(exists, |world, _| {
        world.after_ms(bound).ended(login(1), Ending::Skipped("session exists".into()))
    });
    assert!(failure(&never.after_ms(bound), &attach_to(&[1])).contains("not logged in"));
}

/// C1: a session that was up and lost its connection is iscsid's to bring back; no login is tried upon it.
#[test]
fn c1_a_session_that_was_lost_is_waited_for() {
    let lost = World::new().prepared(1).ok(login(1)).session(1, SessionState::Failed).after_ms(60_000);
    assert!(matches!(of(&lost, &attach_to(&[1]), 1), Progress::Waits { wake: Some(_), .. }));
    let back = lost.session_is(1, SessionState::LoggedIn);
    assert_eq!(of(&back, &attach_to(&[1]), 1), Progress::Needs(scan(1)));
}

/// B2: while the claim says that a login of another process is under way, it is waited for, and no longer.
#[test]
fn b2_another_s_login_is_waited_for_as_long_as_the_claim_says() {
    let mut world = World::new().prepared(1);
    let until = (world.now + Duration::from_secs(4)).0.as_millis() as u64;
    world.claims.get_mut(&endpoint(1)).unwrap().login_until = Some(until);
    let world = world.ended(login(1), Ending::Skipped("session exists".into()));
    let goal = attach_to(&[1]);
    for (after, pause) in [(0, 100), (2000, 250), (3900, 100)] {
        let world = world.clone().after_ms(after);
        let Progress::Waits { wake, .. } = of(&world, &goal, 1) else { panic!("it waits") };
        assert_eq!(wake, Some(world.now + Duration::from_millis(pause)), "{after} ms");
    }
    assert_eq!(of(&world.after_ms(5000), &goal, 1), Progress::Needs(login(1)));
}

/// B6: of many volumes of one target only one logs in; the others do not even ask. A time from before a reboot counts for nothing.
#[test]
fn b6_the_login_of_another_volume_is_not_asked_for_once_more() {
    let mut world = World::new().prepared(1);
    let noted = |world: &mut World, seconds| {
        let until = (world.now + Duration::from_secs(seconds)).0.as_millis() as u64;
        world.claims.get_mut(&endpoint(1)).unwrap().login_until = Some(until);
    };
    let goal = attach_to(&[1]);
    noted(&mut world, 4);
    assert!(matches!(of(&world, &goal, 1), Progress::Waits { wake: Some(_), .. }));
    assert_eq!(
        of(&world.clone().after_ms(4000), &goal, 1),
        Progress::Needs(login(1)),
        "it has come to nothing"
    );
    let own = world.clone().failed(login(1)).after_ms(1000);
    assert_eq!(of(&own, &goal, 1), Progress::Needs(login(1)));
    noted(&mut world, 3600);
    assert_eq!(of(&world, &goal, 1), Progress::Needs(login(1)), "of another boot");

    // A portal that is dead: when one's login has failed, the next one's is under way.
    let bound = goal.login.bound().as_millis() as u64;
    let mut world = World::new().prepared(1).after_ms(bound);
    noted(&mut world, 4);
    assert_eq!(
        of(&world, &goal, 1),
        Progress::Needs(login(1)),
        "one login is waited for, not one after another"
    );
}

#[test]
fn b7_every_wait_of_a_path_ends_or_names_a_running_step() {
    let worlds = [
        World::new().prepared(1).ok(login(1)),
        World::new().logged_in(1).ok(scan(1)),
        World::new().scanned(1).with_disk(1, |disk| disk.device.block = None),
        World::new().scanned(1).with_disk(1, |disk| disk.device.state = DeviceState::Going),
    ];
    for world in worlds {
        assert!(matches!(of(&world, &attach_to(&[1]), 1), Progress::Waits { wake: Some(_), .. }));
    }
    let no_disk = World::new().scanned(1).with_disk(1, |disk| disk.device.block = None).after_ms(31_000);
    assert!(failure(&no_disk, &attach_to(&[1])).contains("is no disk"));
}

#[test]
fn b7_a_record_that_cannot_be_made_is_given_up_with_its_last_reason() {
    let mut world = World::new();
    for _ in 0..4 {
        assert_eq!(of(&world, &attach_to(&[1]), 1), Progress::Needs(prepare(1)));
        world = world.failed(prepare(1)).after_ms(6000);
    }
    assert_eq!(failure(&world, &attach_to(&[1])), "cannot prepare the node record: it failed");
}

#[test]
fn d11_back_off_grows_is_bounded_and_is_spread_by_the_seed() {
    let base = Duration::from_millis(100);
    assert!(backoff(1, base, 7) < backoff(2, base, 7) && backoff(2, base, 7) < backoff(3, base, 7));
    assert!(backoff(u32::MAX, Duration::MAX, 7) <= Duration::from_millis(6250));
    assert_eq!(backoff(3, base, 7), backoff(3, base, 7));
    assert!((0..16).map(|seed| backoff(3, base, seed)).collect::<std::collections::BTreeSet<_>>().len() > 8);
}

/// C15: a record that was made and not set is set before a login goes by it, also where others' session is there and has lost
/// its connection.
#[test]
fn c15_a_lost_session_is_logged_in_to_with_a_record_that_was_set_only() {
    let mut lost = World::new().prepared(1).session(1, SessionState::Failed);
    lost.claims.get_mut(&endpoint(1)).unwrap().prepared = false;
    assert_eq!(steps(lost.attach(&attach_to(&[1]))), [prepare(1)]);
    let up = lost.clone().session_is(1, SessionState::LoggedIn);
    assert_eq!(steps(up.attach(&attach_to(&[1]))), [scan(1)]);
    lost.claims.get_mut(&endpoint(1)).unwrap().prepared = true;
    assert_eq!(steps(lost.attach(&attach_to(&[1]))), [login(1)]);
}
