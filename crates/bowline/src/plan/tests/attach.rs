//! From paths to a map: C1, C2, C3, C5, C7, C9, C11, C16.

use std::time::Duration;

use bowline_host::Moment;
use bowline_host::iscsi::SessionState;
use bowline_host::scsi::DeviceState;

use super::build::*;
use crate::error::ErrorKind;
use crate::ledger::Ending;
use crate::plan::attach::{Attach, Enough, missing};
use crate::plan::{Decision, Step};

#[test]
fn c2_all_records_and_then_all_logins_are_begun_at_once() {
    let world = World::new();
    assert_eq!(steps(world.attach(&attach_to(&[1, 2, 3, 4]))), [1, 2, 3, 4].map(prepare));
    let world = World::new().prepared(1).prepared(2).prepared(3).prepared(4);
    assert_eq!(steps(world.attach(&attach_to(&[1, 2, 3, 4]))), [1, 2, 3, 4].map(login));
}

#[test]
fn c2_a_slow_login_holds_up_no_other_path() {
    let world = World::new().prepared(1).running(login(1)).prepared(2).logged_in(3);
    assert_eq!(steps(world.attach(&attach_to(&[1, 2, 3]))), [scan(3), login(2)]);
}

#[test]
fn c3_the_map_is_made_from_one_path_only() {
    let world = World::new().scanned(1).on_file();
    assert_eq!(steps(world.attach(&attach_to(&[1]))), [add_map()]);
}

#[test]
fn c3_the_map_is_made_while_the_other_paths_still_log_in() {
    let world = World::new().scanned(1).on_file().prepared(2).running(login(2));
    assert_eq!(steps(world.attach(&attach_to(&[1, 2]))), [add_map()]);
}

#[test]
fn c3_a_disk_alone_is_never_the_result() {
    let world = World::new().scanned(1).on_file().ok(read_disk(1)).running(add_map());
    assert!(waits(world.attach(&attach_to(&[1]))).contains("make the map"));
    let world = world.after_ms(DEADLINE * 1000);
    let error = refusal(world.attach(&attach_to(&[1])));
    assert_eq!(error.kind, ErrorKind::NotAttached);
}

/// C3: "ok" from multipathd is not "usable": one read from the map is owed.
#[test]
fn c3_a_map_is_handed_out_only_after_a_read_from_it() {
    let world = World::new().scanned(1).map(&[1]);
    assert_eq!(steps(world.attach(&attach_to(&[1]))), [read_map()]);
    assert_eq!(world.ok(read_map()).attach(&attach_to(&[1])), Decision::Done);
}

/// C3
#[test]
fn c3_a_map_that_is_not_ready_is_not_read_from() {
    let ready = World::new().scanned(1).map(&[1]);
    let not_ready = [
        ready.clone().with_map(|map| map.map.suspended = true),
        ready.clone().with_map(|map| map.map.live = false),
        ready.clone().with_map(|map| map.map.paths[0].active = false),
        ready.clone().with_map(|map| map.node = false),
        ready.clone().with_map(|map| map.udev = None),
    ];
    for world in not_ready {
        let decision = world.attach(&attach_to(&[1]));
        let waits = waits(decision.clone());
        assert!(waits.contains("to become usable") || waits.contains("/dev/mapper/mpatha"), "{waits}");
        assert_eq!(steps(decision), []);
    }
}

#[test]
fn c3_other_paths_join_the_map_later() {
    let two = World::new().scanned(1).scanned(2).map(&[1]).ok(read_map());
    assert!(waits(two.attach(&attach_to(&[1, 2]))).contains("10.0.0.2:3260 to join map mpatha"));
    let overlooked = two.clone().after_ms(3000);
    let both = Attach { enough: Enough::Quorum { paths: 2, grace: None }, ..attach_to(&[1, 2]) };
    assert_eq!(steps(overlooked.attach(&both)), [Step::AddPath(disk(2))]);
    let busy = overlooked.with_disk(2, |disk| disk.udev = None);
    assert!(
        waits(busy.attach(&both)).contains("udev to finish with sdc"),
        "multipathd would not take it yet"
    );
    let joined = World { topology: two.clone().map(&[1, 2]).topology, ..two };
    assert_eq!(joined.attach(&attach_to(&[1, 2])), Decision::Done);
}

/// B1: the default grace is as long as the first path took, but 1 to 5 s; then the map is handed out.
#[test]
fn b1_paths_that_do_not_come_within_the_grace_are_left_to_the_finisher() {
    for (took, grace) in [(200, 1000), (3000, 3000), (20_000, 5000)] {
        let world = World::new().after_ms(20_000).prepared(2).scanned(1).map(&[1]).ok(read_map());
        let goal = Attach { began: world.now - Duration::from_millis(took), ..attach_to(&[1, 2]) };
        assert!(matches!(world.clone().after_ms(grace - 1).attach(&goal), Decision::Act { .. }), "{took}");
        assert_eq!(world.clone().after_ms(grace).attach(&goal), Decision::Done);
        let pending = missing(&goal, &world.view());
        assert!(pending.iter().all(|path| path.pending && path.endpoint == endpoint(2)));
    }
}

/// B1: a wanted number is returned at once, and is a failure when it cannot be had.
#[test]
fn b1_a_quorum_returns_at_once_and_fails_when_it_cannot_be_had() {
    let quorum = |paths| Attach {
        enough: Enough::Quorum { paths, grace: Some(Duration::ZERO) },
        ..attach_to(&[1, 2])
    };
    let one = World::new().prepared(2).scanned(1).map(&[1]).ok(read_map());
    assert_eq!(one.attach(&quorum(1)), Decision::Done);
    assert!(matches!(one.attach(&quorum(2)), Decision::Act { .. }));
    let refused = one.ended(login(2), Ending::Final("authentication failed".into()));
    assert_eq!(refused.attach(&quorum(1)), Decision::Done);
    let error = refusal(refused.attach(&quorum(2)));
    assert_eq!(error.kind, ErrorKind::NotAttached);
    assert!(error.message.contains("only 1 of the 2"), "{error}");
}

/// B1: whoever finishes the other paths has no secrets, so their records are written before the map is handed out.
#[test]
fn b1_no_map_is_handed_out_before_every_record_is_written() {
    let world = World::new().scanned(1).map(&[1]).ok(read_map()).after_ms(60_000);
    let goal =
        Attach { enough: Enough::Quorum { paths: 1, grace: Some(Duration::ZERO) }, ..attach_to(&[1, 2]) };
    assert_eq!(steps(world.attach(&goal)), [prepare(2)]);
}

/// C3: multipathd answers `ok` to `add path` also when it makes the path an orphan.
#[test]
fn c3_a_path_that_never_joins_does_not_hold_up_the_others_for_ever() {
    let mut world = World::new().scanned(1).scanned(2).map(&[1]).ok(read_map()).after_ms(3000);
    for _ in 0..20 {
        match world.attach(&attach_to(&[1, 2])) {
            Decision::Done => return,
            Decision::Act { steps, .. } => {
                world = steps.into_iter().fold(world, World::ok).after_ms(1000);
            }
            Decision::Refused(error) => panic!("{error}"),
        }
    }
    panic!("still waiting after 20 s");
}

/// C3, C5: device-mapper refuses a table with a disk that it cannot open, so as long as multipathd knows of that path it can make no map
/// and no other can join.
#[test]
fn c3_c5_a_path_that_is_offline_keeps_no_other_out() {
    let offline = |world: World, n| world.with_disk(n, |disk| disk.device.state = DeviceState::Offline);
    let aside = Step::SetAside(disk(2));
    let three = offline(World::new().scanned(1).scanned(2).scanned(3).on_file(), 2);
    let goal = Attach { enough: Enough::Quorum { paths: 2, grace: None }, ..attach_to(&[1, 2, 3]) };
    assert_eq!(steps(three.attach(&goal)), [aside.clone(), add_map()]);

    // The map has the first path only.
    let joining = three.clone().map(&[1]).ok(read_map());
    assert_eq!(steps(joining.attach(&goal)), std::slice::from_ref(&aside));
    let overlooked = joining.clone().ok(aside.clone()).after_ms(3000);
    assert!(steps(overlooked.attach(&goal)).contains(&Step::AddPath(disk(3))));
    assert!(
        !steps(overlooked.attach(&goal)).contains(&Step::AddPath(disk(2))),
        "it would keep the third out again"
    );
    let missing = missing(&goal, &joining.view());
    assert!(
        missing.iter().any(|path| path.endpoint == endpoint(2) && path.reason.contains("given it up")),
        "{missing:?}"
    );

    // Its portal has gone silent: its session is not logged in any more.
    let lost = joining.session_is(2, SessionState::Failed);
    assert!(steps(lost.attach(&goal)).contains(&aside));

    // All others are in the map: nobody is kept out. It is in the map itself: the kernel has it open.
    for paths in [&[1, 3][..], &[1, 2]] {
        let world = World::new().scanned(1).scanned(2).scanned(3).map(paths).ok(read_map());
        assert!(!steps(offline(world, 2).attach(&goal)).contains(&aside), "{paths:?}");
    }

    // It is back: multipathd is told of it.
    let back =
        three.map(&[1, 3]).ok(read_map()).with_disk(2, |disk| disk.device.state = DeviceState::Running);
    let all = Attach { enough: Enough::All, ..goal };
    assert_eq!(steps(back.ok(aside).after_ms(3000).attach(&all)), [Step::AddPath(disk(2))]);
}

/// B3: a disk of which nobody knows whose it is stays what it is.
#[test]
fn b3_only_a_path_of_ours_is_set_aside() {
    let world = World::new().scanned(1).logged_in(2).disk(2).on_file();
    let world = world.with_disk(2, |disk| disk.device.state = DeviceState::Offline);
    assert!(!steps(world.attach(&attach_to(&[1, 2]))).contains(&Step::SetAside(disk(2))));
}

/// C3: multipathd may not have heard of the path when it is first asked for the map.
#[test]
fn c3_multipathd_is_told_of_the_path_when_it_cannot_make_the_map() {
    let world = World::new().scanned(1).on_file().failed(add_map()).failed(add_map()).after_ms(5000);
    assert_eq!(steps(world.attach(&attach_to(&[1]))), [Step::AddPath(disk(1))]);
    let told = world.clone().ok(Step::AddPath(disk(1)));
    assert_eq!(steps(told.attach(&attach_to(&[1]))), [add_map()]);
}

#[test]
fn c3_while_multipathd_is_told_of_the_path_nothing_is_given_up() {
    let world = World::new().scanned(1).on_file().failed(add_map()).failed(add_map());
    let world = world.after_ms(5000).running(Step::AddPath(disk(1)));
    assert!(waits(world.attach(&attach_to(&[1]))).contains("add path sdb"));
}

#[test]
fn c5_any_path_s_answer_will_do() {
    let mute = World::new().scanned(1).with_disk(1, |disk| disk.device.wwid = None);
    let world = mute.clone().scanned(2).on_file();
    assert_eq!(steps(world.attach(&attach_to(&[1, 2]))), [add_map()]);
    let world = mute.clone().scanned(2).map(&[2]).ok(read_map());
    assert!(matches!(world.attach(&attach_to(&[1, 2])), Decision::Act { .. }));
    assert_eq!(world.after_ms(3000).attach(&attach_to(&[1, 2])), Decision::Done);
}

/// C5: udev is not done with the first disk; the second one's answer is as good.
#[test]
fn c5_the_map_is_made_from_whichever_disk_udev_knows() {
    let world = World::new().scanned(1).with_disk(1, |disk| disk.udev = None).scanned(2).on_file();
    assert_eq!(steps(world.attach(&attach_to(&[1, 2]))), [add_map()]);
}

/// C5: udev's end is looked for without an event as well, but ever less often while nothing happens.
#[test]
fn c5_udev_is_looked_for_less_and_less_often() {
    let world = World::new().ok(login(1)).scanned(1).with_disk(1, |disk| disk.udev = None).on_file();
    for (after, pause) in [(0, 500), (1000, 500), (4000, 2000), (10_000, 5000), (60_000, 5000)] {
        let world = world.clone().after_ms(after);
        let Decision::Act { steps, wake, .. } = world.attach(&attach_to(&[1])) else { panic!("it waits") };
        assert_eq!((steps, wake), (Vec::new(), Some(world.now + Duration::from_millis(pause))), "{after} ms");
    }
}

#[test]
fn c7_a_disk_that_cannot_be_read_is_no_error_by_itself() {
    let world = World::new().scanned(1).failed(read_disk(1)).scanned(2).map(&[1, 2]).ok(read_map());
    assert_eq!(world.attach(&attach_to(&[1, 2])), Decision::Done);
}

#[test]
fn c1_a_path_that_goes_down_after_its_device_appeared_costs_only_itself() {
    let world = World::new().scanned(1).scanned(2).map(&[1, 2]).ok(login(1)).ok(read_map());
    let down = world.session_is(1, SessionState::Failed).after_ms(25_000);
    let down = down.with_map(|map| map.map.paths[0].active = false);
    assert_eq!(down.attach(&attach_to(&[1, 2])), Decision::Done);
    let missing = missing(&attach_to(&[1, 2]), &down.view());
    assert_eq!(missing.into_iter().map(|path| path.endpoint).collect::<Vec<_>>(), [endpoint(1)]);
}

#[test]
fn c1_when_every_path_has_failed_the_attach_has_and_says_why_of_each() {
    let refused = |n| Ending::Final(format!("target {n} says no"));
    let world = World::new().prepared(1).ended(login(1), refused(1)).prepared(2).ended(login(2), refused(2));
    let error = refusal(world.attach(&attach_to(&[1, 2])));
    assert_eq!(error.kind, ErrorKind::NotAttached);
    assert_eq!(error.causes.len(), 2);
    assert!(error.causes[0].contains("10.0.0.1") && error.causes[0].contains("target 1 says no"));
    assert!(error.causes[1].contains("10.0.0.2") && error.causes[1].contains("target 2 says no"));
}

#[test]
fn b7_at_the_deadline_an_attach_is_whole_or_over() {
    let late = |world: World| World { now: Moment(Duration::from_secs(DEADLINE)), ..world };
    let slow = World::new().scanned(1).map(&[1]).ok(read_map()).prepared(2).running(login(2));
    assert!(matches!(slow.attach(&attach_to(&[1, 2])), Decision::Act { .. }));
    assert_eq!(late(slow).attach(&attach_to(&[1, 2])), Decision::Done);
    let never = World::new().scanned(1).on_file().running(add_map());
    let error = refusal(late(never).attach(&attach_to(&[1])));
    assert!(error.causes.iter().any(|cause| cause.contains("make the map")), "{error}");
}

#[test]
fn c11_the_single_device_is_returned_only_where_the_caller_allowed_it() {
    let allowed = Attach { allow_single_device: true, ..attach_to(&[1]) };
    let world = World::new().scanned(1).on_file().failed(add_map());
    assert!(matches!(world.attach(&allowed), Decision::Act { .. }), "a map is tried for first");
    let late = world.after_ms(DEADLINE * 1000);
    assert_eq!(steps(late.attach(&allowed)), [read_disk(1)], "it must be readable");
    assert_eq!(late.clone().ok(read_disk(1)).attach(&allowed), Decision::Done);
    let error = refusal(late.ok(read_disk(1)).attach(&attach_to(&[1])));
    assert!(error.causes.iter().any(|cause| cause.contains("it failed")), "multipathd's reason: {error}");
}

/// C11: what multipathd's configuration excludes is not waited for until the deadline.
#[test]
fn c11_a_device_that_multipathd_will_never_take_ends_the_wait_for_the_map() {
    let never = || Ending::Final("multipathd says that sdb is blacklisted".into());
    let world = World::new().scanned(1).on_file().failed(add_map()).ended(Step::AddPath(disk(1)), never());
    let error = refusal(world.clone().attach(&attach_to(&[1])));
    assert!(error.causes.iter().any(|cause| cause.contains("blacklisted")), "{error}");
    let allowed = Attach { allow_single_device: true, ..attach_to(&[1]) };
    assert_eq!(steps(world.clone().attach(&allowed)), [read_disk(1)]);
    let other = world.scanned(2).after_ms(1000).attach(&attach_to(&[1, 2]));
    assert!(steps(other).contains(&add_map()), "another path may be taken (C5)");
}

#[test]
fn c11_a_device_that_is_in_a_map_is_never_returned_instead_of_the_map() {
    let allowed = Attach { allow_single_device: true, ..attach_to(&[1]) };
    let world = World::new().scanned(1).map(&[1]).with_map(|map| map.node = false).ok(read_disk(1));
    let error = refusal(world.after_ms(DEADLINE * 1000).attach(&allowed));
    assert_eq!(error.kind, ErrorKind::NotAttached);
}

#[test]
fn c16_connecting_what_is_connected_reads_once_and_changes_nothing() {
    let live = Attach { live: true, ..attach_to(&[1, 2]) };
    let whole = World::new().logged_in(1).disk(1).logged_in(2).disk(2).map(&[1, 2]);
    assert_eq!(steps(whole.attach(&live)), [read_map()]);
    assert_eq!(whole.clone().ok(read_map()).attach(&live), Decision::Done);
    let degraded = World::new().logged_in(1).disk(1).map(&[1]);
    assert_eq!(steps(degraded.attach(&live)), [read_map()]);
}

/// C16, B7: a map that cannot be read is not waited for until the deadline.
#[test]
fn c16_a_live_map_that_cannot_be_read_is_said_to_be_so() {
    let live = Attach { live: true, ..attach_to(&[1]) };
    let mut world = World::new().logged_in(1).disk(1).map(&[1]);
    for _ in 0..10 {
        world = world.failed(read_map()).after_ms(6000);
    }
    let error = refusal(world.attach(&live));
    assert!(error.message.contains("mpatha"), "{error}");
}
