//! Single path: C14, C16, D1, and what C1 and B7 say of it.

use bowline_host::iscsi::SessionState;

use super::build::*;
use crate::ledger::Ending;
use crate::plan::attach::{Attach, missing};
use crate::plan::{Decision, Step};
use crate::topology::Topology;

fn refused_login(n: u8) -> World {
    World::new().prepared(n).ended(login(n), Ending::Final("authentication failed".into()))
}

/// The endpoint was released: record, session and claim are gone.
fn released(mut world: World, n: u8) -> World {
    world.topology.records.retain(|record| record.endpoint != endpoint(n));
    world.topology.sessions.retain(|view| view.session.endpoint != endpoint(n));
    world.claims.remove(&endpoint(n));
    world.ok(release(n))
}

#[test]
fn c14_portals_are_tried_in_turn() {
    assert_eq!(steps(World::new().attach(&single_to(&[1, 2, 3]))), [prepare(1)]);
    let under_way = World::new().prepared(1).running(login(1)).after_ms(10_000);
    assert_eq!(steps(under_way.attach(&single_to(&[1, 2, 3]))), []);
}

#[test]
fn c14_a_portal_that_did_not_work_is_cleaned_up_before_the_next() {
    let world = refused_login(1);
    assert_eq!(steps(world.attach(&single_to(&[1, 2]))), [release(1)]);
    let releasing = world.clone().running(release(1));
    assert_eq!(steps(releasing.attach(&single_to(&[1, 2]))), []);
    assert_eq!(steps(released(world, 1).attach(&single_to(&[1, 2]))), [prepare(2)]);
}

#[test]
fn c14_a_disk_that_cannot_be_read_goes_and_is_not_scanned_for_again() {
    let unreadable = (0..3).fold(World::new().scanned(1), |world, _| world.failed(read_disk(1)));
    assert_eq!(steps(unreadable.attach(&single_to(&[1, 2]))), [delete(1)]);
    let gone = unreadable.ok(delete(1)).no_disk(1).after_ms(10_000);
    assert_eq!(steps(gone.attach(&single_to(&[1, 2]))), [release(1)]);
    let next = released(gone, 1);
    assert_eq!(steps(next.attach(&single_to(&[1, 2]))), [prepare(2)]);
    let why = missing(&single_to(&[1]), &next.view()).remove(0).reason;
    assert!(why.contains("sdb") && why.contains("it failed"), "{why}");
}

/// C14, B7: a portal that was cleaned up keeps its reason.
#[test]
fn b7_when_no_portal_worked_each_one_s_own_reason_is_told() {
    let first = released(refused_login(1), 1);
    let lun_missing = (0..3).fold(first.logged_in(2), |world, _| world.ok(scan(2)).after_ms(7000));
    assert_eq!(steps(lun_missing.attach(&single_to(&[1, 2]))), [release(2)]);
    let error = refusal(released(lun_missing, 2).attach(&single_to(&[1, 2])));
    assert!(
        error.causes[0].contains("10.0.0.1") && error.causes[0].contains("authentication failed"),
        "{error}"
    );
    assert!(
        error.causes[1].contains("10.0.0.2") && error.causes[1].contains("LUN 1 is not there"),
        "{error}"
    );
}

/// B7: where time ran out the error says what for, and not that a disk which nobody has tried to read cannot be read.
#[test]
fn b7_what_a_single_path_was_waiting_for_is_told() {
    let late = |world: World| world.after_ms(DEADLINE * 1000).attach(&single_to(&[1, 2]));
    let early = World::new().scanned(1).with_disk(1, |disk| disk.udev = None);
    let causes = refusal(late(early)).causes;
    assert!(causes[0].contains("still waiting for udev to finish with the disk"), "{causes:?}");
    assert!(causes[1].contains("not tried"), "{causes:?}");
    let causes = refusal(late(World::new().scanned(1).map(&[1]).failed(read_map()))).causes;
    assert!(causes[0].contains("still waiting for read from dm-3"), "{causes:?}");
}

#[test]
fn c14_the_disk_is_handed_out_once_it_was_read() {
    let world = World::new().scanned(1);
    assert_eq!(steps(world.attach(&single_to(&[1, 2]))), [read_disk(1)]);
    let hear = Step::HearMultipathd(disk(1));
    let read = world.clone().ok(read_disk(1));
    assert_eq!(steps(read.attach(&single_to(&[1, 2]))), std::slice::from_ref(&hear), "multipathd may map it");
    assert_eq!(read.ok(hear).attach(&single_to(&[1, 2])), Decision::Done);
    let early = world.with_disk(1, |disk| disk.udev = None);
    assert_eq!(
        steps(early.attach(&single_to(&[1, 2]))),
        [],
        "udev has not said yet whether multipath claims it"
    );
}

#[test]
fn c14_where_multipath_maps_the_disk_anyway_the_map_is_handed_out() {
    let claims = |world: World| {
        world.with_disk(1, |disk| {
            let properties = &mut disk.udev.as_mut().unwrap().properties;
            properties.insert("DM_MULTIPATH_DEVICE_PATH".into(), "1".into());
        })
    };
    let claimed = claims(World::new().scanned(1));
    assert!(waits(claimed.attach(&single_to(&[1]))).contains("multipathd to map the disk"));
    let mapped = claimed.map(&[1]);
    assert_eq!(steps(mapped.attach(&single_to(&[1]))), [read_map()]);
    assert_eq!(mapped.ok(read_map()).attach(&single_to(&[1])), Decision::Done);
}

#[test]
fn c14_a_map_that_cannot_be_read_goes_with_its_portal() {
    let mut world = World::new().scanned(1).map(&[1]);
    for _ in 0..10 {
        world = world.failed(read_map()).after_ms(6000);
    }
    let world = World { now: bowline_host::Moment(std::time::Duration::from_secs(80)), ..world };
    assert_eq!(steps(world.attach(&single_to(&[1, 2]))), [remove_map()]);
}

/// C14: the first portal is dead and let go of, and the host maps the second one's disk by itself.
#[test]
fn c14_a_portal_that_was_let_go_of_does_not_take_the_map_of_the_next() {
    let next = released(refused_login(1), 1).scanned(2);
    assert_eq!(steps(next.clone().map(&[2]).attach(&single_to(&[1, 2]))), [read_map()]);
    let forming = next.clone().ok(read_disk(2)).map(&[]).with_map(|map| map.map.live = false);
    assert!(
        !steps(forming.attach(&single_to(&[1, 2]))).contains(&remove_map()),
        "nor while it has no table yet"
    );
    let mapped = next.map(&[2]).ok(read_map());
    assert_eq!(mapped.attach(&single_to(&[1, 2])), Decision::Done);
    let on_file = World { topology: Topology { wwid_on_file: true, ..mapped.topology.clone() }, ..mapped };
    assert_eq!(on_file.attach(&single_to(&[1, 2])), Decision::Done, "nor its entry on the wwids file");
}

/// C16: the first portal did not work when the volume was attached, the second one did.
#[test]
fn c16_a_live_disk_stays_the_one_and_no_other_portal_is_touched() {
    let live = Attach { live: true, ..single_to(&[1, 2]) };
    let world = World::new().logged_in(2).disk(2);
    assert_eq!(steps(world.attach(&live)), [read_disk(2)]);
    assert_eq!(world.ok(read_disk(2)).attach(&live), Decision::Done);
}

/// C16: it may have data that is not written yet.
#[test]
fn c16_a_live_disk_that_cannot_be_read_is_left_as_it_is() {
    let live = Attach { live: true, ..single_to(&[1, 2]) };
    let attached = World::new().logged_in(1).disk(1);
    let lost =
        attached.clone().session_is(1, SessionState::Failed).ended(login(1), Ending::Skipped("15".into()));
    for world in [attached, lost.after_ms(30_000)] {
        let unreadable = (0..3).fold(world, |world, _| world.failed(read_disk(1)));
        let error = refusal(unreadable.attach(&live));
        assert!(error.message.contains("sdb"), "{error}");
    }
}

/// C16: after a reboot the journal says attached, and nothing is there.
#[test]
fn c16_a_live_attachment_that_is_gone_is_attached_again() {
    let live = Attach { live: true, ..single_to(&[1, 2]) };
    assert_eq!(steps(World::new().prepared(1).attach(&live)), [login(1)]);
}

/// D1: a single-path portal is cleaned up by the same rules as a map.
#[test]
fn d1_one_set_of_rules_detaches_a_map_and_a_disk() {
    let mapped = World::new().logged_in(1).disk(1).map(&[1]).ok(sync_map());
    let single = World::new().logged_in(1).disk(1).ok(sync_disk(1));
    assert_eq!(steps(mapped.detach(&detach_of(&[1]))), [remove_map()]);
    assert_eq!(steps(single.detach(&detach_of(&[1]))), [delete(1)]);
    for world in [mapped.no_map().ok(remove_map()), single] {
        let deleted = world.no_disk(1).ok(delete(1));
        let wanted = steps(deleted.detach(&detach_of(&[1])));
        assert!(wanted.contains(&release(1)) && wanted.contains(&Step::ForgetPaths(wwid())));
    }
}

/// C14: `find_multipaths smart` claims a disk until a second path has had its time; a claim for good is waited for.
#[test]
fn c14_a_claim_for_now_is_not_waited_for_forever() {
    let claimed = |until: Option<&'static str>| {
        World::new().scanned(1).with_disk(1, |disk| {
            let properties = &mut disk.udev.as_mut().unwrap().properties;
            properties.insert("DM_MULTIPATH_DEVICE_PATH".into(), "1".into());
            properties.extend(until.map(|until| ("FIND_MULTIPATHS_WAIT_UNTIL".into(), until.into())));
        })
    };
    let goal = single_to(&[1]);
    let smart = claimed(Some("1790000000.5"));
    assert!(waits(smart.attach(&goal)).contains("multipathd to map the disk"));
    assert_eq!(steps(smart.after_ms(16_000).attach(&goal)), [read_disk(1)]);
    for until in [None, Some("0")] {
        let decision = claimed(until).after_ms(16_000).attach(&goal);
        assert!(waits(decision).contains("multipathd to map the disk"));
    }
}

/// B3, C16: a portal that was let go of before the next was tried; the session there is others', and so is what hangs below it.
#[test]
fn b3_the_device_of_a_portal_that_was_let_go_of_is_not_handed_out() {
    let goal = Attach { live: true, ..single_to(&[1, 2]) };
    let world = World::new().session(1, SessionState::LoggedIn).disk(1).logged_in(2).disk(2);
    assert_eq!(steps(world.attach(&goal)), [read_disk(2)]);
    let lost = world.no_disk(2);
    assert!(matches!(lost.attach(&goal), Decision::Refused(_)), "nor where it is the only one");
}
