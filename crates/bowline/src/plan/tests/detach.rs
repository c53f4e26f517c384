//! Back again: D2, D3, D4, D5, D9, D10, D14, D15, and C1: what a connect made goes, and nothing else.

use std::time::Duration;

use bowline_host::dm::{Map, MapPath};
use bowline_host::iscsi::SessionState;
use bowline_host::layers::Kind;
use bowline_host::names::DevNumber;
use bowline_host::openers::Opener;

use super::build::*;
use crate::error::ErrorKind;
use crate::ledger::Ending;
use crate::plan::detach::{Detach, failures, given_up, leftovers, maps_beside};
use crate::plan::{Decision, Step};
use crate::policy::OnDirty;
use crate::topology::Beside;

fn undo_of(paths: &[u8]) -> Detach {
    Detach { on_dirty: OnDirty::NothingWritten, ..detach_of(paths) }
}

/// Two disks whose map was flushed and removed.
fn unmapped() -> World {
    World::new().logged_in(1).disk(1).logged_in(2).disk(2).ok(sync_map()).ok(remove_map())
}

#[test]
fn d15_what_is_not_connected_is_detached() {
    assert_eq!(World::new().detach(&detach_of(&[1, 2])), Decision::Done);
    assert_eq!(leftovers(&detach_of(&[1, 2]), &World::new().view()), Vec::<String>::new());
}

/// D2: no step of a detach asks a device who it is or reads from it; sysfs and device-mapper have said it all.
#[test]
fn d2_with_every_path_down_the_steps_are_the_same() {
    let down = |world: World| {
        let world = world.session_is(1, SessionState::Failed).session_is(2, SessionState::Failed);
        let mute = |disk: &mut crate::topology::DeviceView| disk.device.wwid = None;
        world.with_disk(1, mute).with_disk(2, mute)
    };
    assert_eq!(steps(down(unmapped()).detach(&detach_of(&[1, 2]))), [delete(1), delete(2)]);
    let mapped = World::new().logged_in(1).disk(1).logged_in(2).disk(2).map(&[1, 2]);
    let mapped = down(mapped).ok(sync_map());
    assert_eq!(steps(mapped.detach(&detach_of(&[1, 2]))), [remove_map()]);
}

#[test]
fn d3_a_device_that_is_in_no_map_goes_too() {
    let world = unmapped().logged_in(3).disk(3);
    assert_eq!(steps(world.detach(&detach_of(&[1, 2, 3]))), [delete(1), delete(2), delete(3)]);
}

#[test]
fn d5_all_devices_are_deleted_at_once_and_waited_for() {
    let wanted = unmapped().detach(&detach_of(&[1, 2]));
    assert_eq!(steps(wanted.clone()), [delete(1), delete(2)]);
    assert!(waits(wanted).contains("device 1:0:0:1 to go; device 2:0:0:1 to go"));
    let said_ok = unmapped().ok(delete(1)).ok(delete(2));
    assert!(waits(said_ok.detach(&detach_of(&[1, 2]))).contains("device 1:0:0:1 to go"));
}

#[test]
fn d14_an_endpoint_is_released_only_when_its_device_is_gone() {
    let world = unmapped().running(delete(1)).running(delete(2));
    assert_eq!(steps(world.detach(&detach_of(&[1, 2]))), []);
    let one_gone = world.no_disk(1);
    assert_eq!(steps(one_gone.detach(&detach_of(&[1, 2]))), [release(1)]);
}

#[test]
fn d14_nothing_is_released_while_a_step_of_ours_runs_there() {
    for step in [prepare(1), login(1), scan(1)] {
        let world = World::new().prepared(1).running(step);
        let decision = world.detach(&undo_of(&[1]));
        assert!(waits(decision.clone()).contains("what is under way"));
        assert_eq!(steps(decision), []);
    }
}

/// C1, B7: under heavy loss udev reads a new map for longer than there is time for cleaning up.
#[test]
fn c1_a_map_that_udev_holds_does_not_hold_up_the_clean_up_of_its_disks() {
    let held = World::new().scanned(1).map(&[1]).failed(remove_map());
    assert_eq!(steps(held.clone().after_ms(2000).detach(&undo_of(&[1]))), [remove_map()]);
    let held = held.after_ms(4000);
    assert_eq!(steps(held.detach(&undo_of(&[1]))), [remove_map(), delete(1)]);
    assert_eq!(steps(held.detach(&detach_of(&[1]))), [sync_map()], "where data counts, never");
    let bare = held.ok(delete(1)).no_disk(1);
    assert_eq!(steps(bare.detach(&undo_of(&[1]))), [remove_map(), release(1)], "forgotten once it is gone");
}

/// C1, B7: multipathd asks a disk for its state and is blocked until the disk goes: a dead map that it was to stop queueing does not
/// hold up the clean-up of its disks, and it is asked again once it has its hands free.
#[test]
fn c1_a_busy_multipathd_does_not_hold_up_the_clean_up_of_the_disks_it_waits_for() {
    let dead = World::new().scanned(1).map(&[1]).with_map(|map| {
        map.map.queueing = true;
        map.map.paths.iter_mut().for_each(|path| path.active = false);
    });
    let stop = Step::StopQueueing("mpatha".parse().unwrap());
    let decision = dead.detach(&undo_of(&[1]));
    let asked = dead.running(stop.clone());
    assert!(
        matches!(decision, Decision::Act { wake: Some(wake), .. } if wake == asked.now + Duration::from_secs(3))
    );
    assert_eq!(steps(decision), std::slice::from_ref(&stop));
    assert_eq!(steps(asked.clone().after_ms(2000).detach(&undo_of(&[1]))), []);
    assert_eq!(steps(asked.clone().after_ms(3000).detach(&undo_of(&[1]))), [remove_map(), delete(1)]);
    let mut busy = asked.no_disk(1);
    busy.ledger.end(&stop, busy.now, Ending::Failed("busy".into()));
    let busy = (0..5).fold(busy, |world, _| world.failed(stop.clone()).after_ms(8000));
    assert!(steps(busy.detach(&undo_of(&[1]))).contains(&stop), "as long as its removal is tried");
    let given_up = (0..40).fold(busy, |world, _| world.failed(remove_map()).after_ms(7000));
    assert!(!steps(given_up.detach(&undo_of(&[1]))).contains(&stop));
}

/// D9: a disk goes later than its SCSI device. The logout does not wait for it, but "clean" does.
#[test]
fn d9_a_disk_that_is_on_its_way_out_is_waited_for_and_named() {
    let mut going = World::new().logged_in(1);
    going.topology.sessions[0].going.push(hctl(1));
    for goal in [detach_of(&[1]), undo_of(&[1])] {
        assert_eq!(steps(going.detach(&goal)), [release(1)]);
        let mut served = going.clone().ok(release(1));
        served.claims.clear();
        assert!(waits(served.detach(&goal)).contains("the disk of 1:0:0:1 to go"));
        assert!(leftovers(&goal, &served.view())[0].contains("1:0:0:1, which is on its way out"));
    }
}

/// B7, C1: a scan whose session lost its connection ends with the session, and not before.
#[test]
fn b7_a_scan_below_a_lost_session_does_not_hold_up_its_release() {
    let scanning = World::new().logged_in(1).running(scan(1));
    assert_eq!(steps(scanning.detach(&undo_of(&[1]))), []);
    let mut lost = scanning.session_is(1, SessionState::Failed);
    assert_eq!(steps(lost.detach(&undo_of(&[1]))), [release(1)]);
    // Others need the session, so it stays: what the scan brings in when the connection is back would be nobody's.
    lost.session_mut(1).others = 1;
    assert_eq!(steps(lost.detach(&undo_of(&[1]))), []);
}

/// B4, D3: a connect was killed while the kernel scanned for it, below a session that others made.
#[test]
fn b4_a_scan_that_a_killed_process_began_is_waited_for() {
    let mut scanning =
        World::new().logged_in(1).disk(1).session(2, SessionState::LoggedIn).claimed_by(2, &[ID]);
    scanning.claims.get_mut(&endpoint(2)).unwrap().made_session = false;
    scanning.session_mut(2).scanning = true;
    let gone = scanning.ok(sync_disk(1)).ok(delete(1)).no_disk(1);
    let gone = gone.ok(Step::ForgetPaths(wwid()));
    assert_eq!(steps(gone.detach(&detach_of(&[1, 2]))), [release(1)]);
    let mut over = gone;
    over.session_mut(2).scanning = false;
    assert_eq!(steps(over.detach(&detach_of(&[1, 2]))), [release(1), release(2)]);
}

/// B3, D4: the LUN was another volume's before; whoever uses that still does, and ours is detached all the same.
#[test]
fn d4_another_volume_s_map_at_the_lun_is_left_alone() {
    let ours = Detach { wwid: Some(wwid()), ..detach_of(&[1, 2]) };
    let mut world = World::new().scanned(1).map(&[1]).session(2, SessionState::LoggedIn).disk(2);
    let other = world.topology.map.as_ref().unwrap().map.clone();
    let paths = vec![MapPath { number: number(2), active: true }];
    world.topology.foreign_maps.push(Map { wwid: wwid_ending(2), paths, ..other });
    assert!(
        matches!(world.detach(&ours), Decision::Refused(_)),
        "it tells our identity, so whose it is is unknown"
    );
    let world = world.with_disk(2, |device| device.device.wwid = Some(wwid_ending(2)));
    assert_eq!(steps(world.detach(&ours)), [sync_map()]);
    let unmapped = world.ok(sync_map()).ok(remove_map()).no_map();
    assert_eq!(steps(unmapped.detach(&ours)), [delete(1)]);
    assert!(!leftovers(&ours, &unmapped.view()).iter().any(|left| left.contains(disk(2).as_str())));
    let unknown = Detach { wwid: None, ..ours };
    assert!(matches!(unmapped.detach(&unknown), Decision::Refused(_)), "without an identity it may be ours");
}

/// The LUN was reused between the scans of two paths: the second disk is another volume's, and multipathd has mapped it.
fn reused() -> (World, Map, Detach) {
    let mut world = World::new().scanned(1).map(&[1]).scanned(2);
    let paths = vec![MapPath { number: number(2), active: true }];
    let map = world.topology.map.as_ref().unwrap().map.clone();
    let number = DevNumber { minor: MAP_NUMBER.minor + 1, ..map.number };
    let map = Map { name: "mpathb".parse().unwrap(), wwid: wwid_ending(2), number, paths, ..map };
    world.topology.foreign_maps.push(map.clone());
    let world = world.beside(map.clone());
    let goal = Detach { wwid: Some(wwid()), beside: [(wwid_ending(2), false)].into(), ..detach_of(&[1, 2]) };
    (world.with_disk(2, |device| device.device.wwid = Some(wwid_ending(2))), map, goal)
}

fn remove_beside() -> Step {
    Step::RemoveMap { name: "mpathb".parse().unwrap(), wwid: wwid_ending(2) }
}

/// D3: what this attachment has brought in goes with it, after the volume's own.
#[test]
fn d3_another_volume_s_map_that_we_brought_in_goes_with_the_attachment() {
    let (world, _, goal) = reused();
    assert_eq!(steps(world.detach(&goal)), [sync_map()]);
    let flushed = world.ok(sync_map());
    assert_eq!(steps(flushed.detach(&goal)), [remove_map()]);
    let unmapped = flushed.ok(remove_map()).no_map();
    assert_eq!(steps(unmapped.detach(&goal)), [remove_beside()]);
    // D9: whoever stops here names the disk below that map, too.
    let named = leftovers(&goal, &unmapped.view());
    let named = |what: &str| named.iter().filter(|left| left.contains(what)).count();
    assert_eq!((named("mpathb"), named(disk(1).as_str()), named(disk(2).as_str())), (1, 1, 1));
    let mut gone = unmapped.ok(remove_beside());
    gone.topology.foreign_maps.clear();
    gone.topology.beside.insert(wwid_ending(2), Beside { map: None, on_file: true });
    assert!(maps_beside(&gone.view())[0].contains("mpathb of volume"));
    assert_eq!(steps(gone.detach(&goal)), [delete(1), delete(2)]);
    let gone = gone.ok(delete(1)).ok(delete(2)).ok(Step::ForgetPaths(wwid())).no_disk(1).no_disk(2);
    assert!(steps(gone.detach(&goal)).contains(&Step::ForgetWwid(wwid_ending(2))));
    assert!(leftovers(&goal, &gone.view()).iter().any(|left| left.contains(wwid_ending(2).as_str())));
    let kept = Detach { beside: [(wwid_ending(2), true)].into(), ..goal };
    assert!(!steps(gone.detach(&kept)).contains(&Step::ForgetWwid(wwid_ending(2))), "it was there before");
}

/// D4: somebody has it open, or has added a path of his own, or had the disk before us. Its entry on the wwids file stays too.
#[test]
fn d4_another_volume_s_map_that_somebody_uses_stays() {
    let (world, map, goal) = reused();
    let open = world.clone().beside(Map { open_count: 1, ..map.clone() });
    let strange = MapPath { number: number(9), active: true };
    let joined = world.clone().beside(Map { paths: vec![map.paths[0], strange], ..map });
    let mut theirs = World { ledger: Default::default(), ..world };
    theirs.claims.get_mut(&endpoint(2)).unwrap().made_session = false;
    for used in [open, joined, theirs] {
        assert_eq!(steps(used.detach(&goal)), [sync_map()]);
        let unmapped = used.ok(sync_map()).ok(remove_map()).no_map();
        let apart = steps(unmapped.detach(&goal));
        assert!(
            apart.contains(&delete(1)) && !apart.contains(&delete(2)) && !apart.contains(&remove_beside())
        );
        let gone = unmapped.ok(delete(1)).no_disk(1).ok(Step::ForgetPaths(wwid()));
        let last = steps(gone.detach(&goal));
        assert!(!last.iter().any(|step| matches!(step, Step::ForgetWwid(of) if *of != wwid())), "{last:?}");
        assert!(maps_beside(&gone.view())[0].contains("stays"));
    }
}

/// D7: that another volume's map is being removed says nothing of a disk that was handed out without a map.
#[test]
fn d7_a_bare_disk_is_flushed_also_after_another_volume_s_map_went() {
    let (world, _, goal) = reused();
    let mut bare = world.no_map().ok(remove_beside());
    bare.topology.foreign_maps.clear();
    bare.topology.beside.clear();
    let flushes = steps(bare.detach(&goal));
    assert!(flushes.contains(&sync_disk(1)), "{flushes:?}");
}

/// C1: a connect that fails since its paths disagree leaves no map behind, not even one whose disks are gone already.
#[test]
fn c1_a_map_of_another_identity_goes_also_when_it_has_no_path_any_more() {
    let (world, map, goal) = reused();
    let goal = Detach { on_dirty: OnDirty::NothingWritten, ..goal };
    let mut world = world.no_map().ok(delete(2)).no_disk(2);
    world.topology.foreign_maps.clear();
    let dead = Map { paths: Vec::new(), queueing: true, open_count: 1, ..map };
    let world = world.beside(dead.clone());
    let stop = Step::StopQueueing(dead.name.clone());
    assert_eq!(steps(world.detach(&goal)), std::slice::from_ref(&stop), "udev reads it, and would for ever");
    assert_eq!(steps(world.ok(stop).detach(&goal)), [remove_beside()]);
}

#[test]
fn d4_a_session_that_was_never_part_of_the_map_goes() {
    let world = World::new().logged_in(1).session(2, SessionState::Failed).claimed_by(2, &[ID]);
    assert_eq!(steps(world.detach(&detach_of(&[1, 2]))), [release(1), release(2)]);
}

#[test]
fn d4_a_record_without_a_session_goes() {
    assert_eq!(steps(World::new().prepared(1).detach(&detach_of(&[1]))), [release(1)]);
}

#[test]
fn d4_another_attachment_s_claim_is_left_alone() {
    let theirs = World::new().logged_in(1).claimed_by(1, &["bl-somebodyelse"]);
    assert_eq!(theirs.detach(&detach_of(&[1])), Decision::Done);
    let shared = World::new().logged_in(1).claimed_by(1, &[ID, "bl-somebodyelse"]);
    assert_eq!(steps(shared.detach(&detach_of(&[1]))), [release(1)], "only our claim is given up");
}

/// D4: attached by somebody else, given to us to detach.
#[test]
fn d4_a_session_nobody_claims_goes_with_the_device_we_took_and_only_if_it_serves_no_other() {
    let mut world =
        World::new().session(1, SessionState::LoggedIn).ok(delete(1)).ok(Step::ForgetPaths(wwid()));
    assert_eq!(steps(world.detach(&detach_of(&[1]))), [release(1)]);
    world.session_mut(1).others = 1;
    assert_eq!(world.detach(&detach_of(&[1])), Decision::Done);
    let untouched = World::new().session(1, SessionState::LoggedIn);
    assert_eq!(untouched.detach(&detach_of(&[1])), Decision::Done);
}

#[test]
fn c9_multipathd_and_the_wwids_file_forget_once_the_devices_are_gone() {
    let there = unmapped().on_file();
    assert!(!steps(there.detach(&detach_of(&[1, 2]))).contains(&Step::ForgetWwid(wwid())));
    let gone = there.ok(delete(1)).ok(delete(2)).no_disk(1).no_disk(2);
    let wanted = steps(gone.detach(&detach_of(&[1, 2])));
    assert!(wanted.contains(&Step::ForgetPaths(wwid())) && wanted.contains(&Step::ForgetWwid(wwid())));
    let before_us = Detach { keep_wwid: true, ..detach_of(&[1, 2]) };
    assert!(!steps(gone.detach(&before_us)).contains(&Step::ForgetWwid(wwid())));
}

/// D4: a path that exists and is no device of this connection may be in use by somebody.
#[test]
fn d4_a_map_with_another_connection_s_path_is_refused() {
    let world = World::new().logged_in(1).disk(1).map(&[1]).with_map(|map| map.strangers.push(number(9)));
    let error = refusal(world.detach(&detach_of(&[1])));
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("8:144"), "{error}");
}

/// C1, D9: multipathd has put somebody's idle disk into the map that it made since we claimed the identity: the map is not ours to take
/// away, and it would not be there without us.
#[test]
fn d9_what_came_of_us_and_is_not_ours_is_named() {
    let world = || World::new().ok(prepare(1)).scanned(1).map(&[1]).on_file();
    let claimed = || world().ok(Step::ClaimWwid(wwid()));
    let undo = undo_of(&[1]);
    assert!(given_up(&undo, &claimed().view()).is_empty(), "it is ours, and goes");
    let strangers = |world: World| world.with_map(|map| map.strangers.push(number(9)));
    assert!(given_up(&undo, &strangers(world()).view()).is_empty(), "it was there before us");
    let taken = strangers(claimed());
    let named = given_up(&undo, &taken.view());
    assert!(named.len() == 2 && named[0].starts_with("multipath map mpatha ("), "{named:?}");
    assert!(named[1].starts_with("wwids entry 3600"), "{named:?}");
    let his = Detach { keep_wwid: true, ..undo_of(&[1]) };
    assert!(given_up(&his, &taken.view()).is_empty(), "somebody had claimed it before");
}

/// D9: iscsid stands still in the middle of a logout: the session is there, and nothing tells any more through which portal it was.
#[test]
fn d9_a_session_whose_connection_has_gone_is_named() {
    let mut world = World::new().logged_in(1).logged_in(2);
    let of_1 = world.topology.sessions.remove(0).session;
    let torn = bowline_host::iscsi::TornSession { sid: of_1.sid, iqn: of_1.endpoint.iqn };
    world.topology.torn.push(torn);
    let left = leftovers(&detach_of(&[1, 2]), &world.view());
    let named = left.iter().filter(|line| line.starts_with("session ")).collect::<Vec<_>>();
    assert_eq!(named.len(), 2, "{left:?}");
    assert!(named[1].contains("whose connection has gone"), "{left:?}");
}

#[test]
fn d9_what_is_left_is_named_one_line_each() {
    let world = World::new().logged_in(1).disk(1).map(&[1]);
    let left = leftovers(&detach_of(&[1]), &world.view());
    let begin = [
        "multipath map mpatha",
        "SCSI device sdb (1:0:0:1)",
        "wwids entry 3600",
        "session 1 to iqn.",
        "node record of iqn.",
    ];
    assert_eq!(left.len(), begin.len(), "{left:?}");
    for (line, begin) in left.iter().zip(begin) {
        assert!(line.starts_with(begin), "{line:?} does not begin with {begin:?}");
    }
}

/// D9: also a session that nobody claimed, once we have tried to end it.
#[test]
fn d9_a_session_that_would_not_end_is_named() {
    let mut world =
        World::new().session(1, SessionState::LoggedIn).ok(delete(1)).ok(Step::ForgetPaths(wwid()));
    for _ in 0..8 {
        assert_eq!(steps(world.detach(&detach_of(&[1]))), [release(1)]);
        world = world.failed(release(1)).after_ms(7000);
    }
    assert_eq!(world.detach(&detach_of(&[1])), Decision::Done);
    let left = leftovers(&detach_of(&[1]), &world.view());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("session 1 to "), "{left:?}");
}

#[test]
fn d10_of_a_step_that_was_retried_only_the_last_failure_is_told() {
    let why = |text: &str| Ending::Failed(text.into());
    let world =
        World::new().ended(remove_map(), why("map in use")).ended(remove_map(), why("map still in use"));
    assert_eq!(failures(&world.view()), ["remove map mpatha: map still in use"]);
    assert_eq!(failures(&world.ok(remove_map()).view()), Vec::<String>::new());
}

/// D10, D7: removing a map is refused while udev holds it for a moment.
#[test]
fn d10_a_map_that_is_busy_is_tried_again() {
    let world = World::new().logged_in(1).disk(1).map(&[1]).ok(sync_map()).failed(remove_map());
    assert_eq!(steps(world.detach(&detach_of(&[1]))), []);
    assert_eq!(steps(world.after_ms(200).detach(&detach_of(&[1]))), [remove_map()]);
}

#[test]
fn c1_what_the_connect_made_goes_in_the_order_of_a_detach() {
    let world = World::new().scanned(1).map(&[1]);
    assert_eq!(steps(world.detach(&undo_of(&[1]))), [remove_map()]);
    let world = world.no_map().ok(remove_map());
    assert_eq!(steps(world.detach(&undo_of(&[1]))), [delete(1)]);
    let wanted = steps(world.no_disk(1).ok(delete(1)).detach(&undo_of(&[1])));
    assert_eq!(wanted, [Step::ForgetPaths(wwid()), Step::ForgetWwid(wwid()), release(1)]);
}

/// C1: a disk that was there before our scan, in use or not, is somebody's; so is the map it is in.
#[test]
fn c1_what_was_there_before_the_connect_is_left_alone() {
    let before = World::new().ok(prepare(1)).logged_in(1).disk(1).map(&[1]);
    assert_eq!(steps(before.detach(&undo_of(&[1]))), [release(1)], "nothing but our claim");
    let mut given_up = before;
    given_up.claims.clear();
    assert_eq!(given_up.detach(&undo_of(&[1])), Decision::Done);
    assert_eq!(leftovers(&undo_of(&[1]), &given_up.view()), Vec::<String>::new());
}

/// C1, C9: a stale device of another volume at one of the portals keeps nothing of ours on the wwids file.
#[test]
fn c1_c9_a_device_of_another_volume_keeps_no_identity_on_file() {
    let mut world = World::new().ok(prepare(1)).logged_in(1).disk(1).on_file();
    world = world.with_disk(1, |view| view.device.wwid = Some(wwid_ending(2)));
    let goal = Detach { wwid: Some(wwid()), ..undo_of(&[1]) };
    assert!(steps(world.detach(&goal)).contains(&Step::ForgetWwid(wwid())));
    assert!(leftovers(&goal, &world.view()).contains(&format!("wwids entry {}", wwid())));
}

/// D9: a claim that could not be given up is named, though session and record are gone.
#[test]
fn d9_a_claim_that_stays_is_named() {
    let world = World::new().claimed_by(1, &[ID]);
    assert_eq!(
        leftovers(&detach_of(&[1]), &world.view()),
        [format!("bowline's own claim on {}", endpoint(1))]
    );
    let others = World::new().claimed_by(1, &["bl-000000000002"]);
    assert_eq!(leftovers(&detach_of(&[1]), &others.view()), Vec::<String>::new());
}

/// C1: multipathd has added the disk that we brought in to the map that was there.
#[test]
fn c1_our_disk_goes_out_of_a_map_that_was_there_before() {
    let world = World::new().ok(prepare(1)).logged_in(1).disk(1).ok(prepare(2)).scanned(2).map(&[1, 2]);
    assert_eq!(steps(world.detach(&undo_of(&[1, 2]))), [delete(2), release(1)]);
    let strange =
        World::new().ok(prepare(1)).scanned(1).map(&[1]).with_map(|map| map.strangers.push(number(9)));
    assert_eq!(steps(strange.detach(&undo_of(&[1]))), [delete(1)]);
}

/// C1: a map of another volume took the disk that we brought in.
#[test]
fn c1_our_disk_goes_out_of_another_volume_s_map() {
    let mut world = World::new().ok(prepare(1)).scanned(1).map(&[1]);
    let map = world.topology.map.take().unwrap().map;
    world.topology.foreign_maps.push(Map { wwid: wwid_ending(2), ..map });
    assert_eq!(steps(world.detach(&undo_of(&[1]))), [delete(1)]);
}

/// C1, B4: after a crash no ledger tells what was scanned; a session that bowline made has only what bowline scanned.
#[test]
fn c1_after_a_crash_what_hangs_below_our_own_session_goes() {
    let crashed = World::new().logged_in(1).disk(1);
    assert_eq!(steps(crashed.detach(&undo_of(&[1]))), [delete(1)]);
    let mut theirs = crashed;
    theirs.claims.get_mut(&endpoint(1)).unwrap().made_session = false;
    assert_eq!(steps(theirs.detach(&undo_of(&[1]))), [release(1)]);
    let journaled = Detach { scanned: [endpoint(1)].into(), ..undo_of(&[1]) };
    assert_eq!(steps(theirs.detach(&journaled)), [delete(1)], "B4: the journal tells what was scanned there");
}

/// D7, D10: a map that is on its way out holds its disks for a moment without an identity.
#[test]
fn d7_a_map_that_is_going_is_not_taken_for_a_user() {
    let mut going = World::new().scanned(1).ok(sync_map()).running(remove_map());
    going.topology.openers.push(Opener::Holder(layer("dm-3", Kind::Mapped("going".into()))));
    assert_eq!(steps(going.detach(&detach_of(&[1]))), []);
    let mut stranger = World::new().scanned(1);
    stranger.topology.openers.push(Opener::Holder(layer("dm-3", Kind::Mapped("going".into()))));
    assert!(refusal(stranger.detach(&detach_of(&[1]))).to_string().contains("in use"));
}

/// D7, D14: multipathd, not done with a path's event yet, makes the map anew: that is no user, and it goes again.
#[test]
fn d7_a_map_that_multipathd_makes_anew_is_removed_again() {
    let mut forming = unmapped();
    forming.topology.openers.push(Opener::Holder(layer("dm-3", Kind::Mapped("forming".into()))));
    assert_eq!(steps(forming.detach(&detach_of(&[1, 2]))), []);
    assert!(waits(forming.detach(&detach_of(&[1, 2]))).contains("removed map to go"));
    let anew = unmapped().after_ms(1000).map(&[1, 2]);
    assert_eq!(steps(anew.detach(&detach_of(&[1, 2]))), [remove_map()]);
    let error = refusal(forming.after_ms(10_000).detach(&detach_of(&[1, 2])));
    assert_eq!(
        (error.kind, error.causes),
        (ErrorKind::Refused, vec!["block device forming (dm-3) upon it".to_owned()])
    );
}
