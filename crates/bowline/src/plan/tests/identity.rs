//! Whose data it is: B3, C6, C8, C9. And what was there before and is nobody's, or somebody's.

use bowline_host::Wwid;
use bowline_host::dm::Map;

use super::build::*;
use crate::error::ErrorKind;
use crate::plan::attach::Attach;
use crate::plan::{Decision, Step};

fn named(world: World, n: u8, wwid: Wwid) -> World {
    world.with_disk(n, |disk| disk.device.wwid = Some(wwid))
}

/// C6: no step asks a device who it is; sysfs has said so.
#[test]
fn c6_the_identity_comes_from_the_observation() {
    let world = named(World::new().scanned(1), 1, wwid_ending(9));
    assert_eq!(
        steps(world.clone().attach(&attach_to(&[1]))),
        [Step::ClaimWwid(wwid_ending(9)), Step::AddMap(wwid_ending(9))]
    );
}

/// C9: what is put on the wwids file and asked of multipathd is taken off again.
#[test]
fn c9_the_identity_that_is_claimed_is_the_one_that_is_forgotten() {
    let claimed = steps(World::new().scanned(1).attach(&attach_to(&[1])));
    assert!(claimed.contains(&Step::ClaimWwid(wwid())) && claimed.contains(&add_map()));
    let gone = World::new().logged_in(1).on_file().ok(delete(1));
    let forgotten = steps(gone.detach(&detach_of(&[1])));
    assert!(forgotten.contains(&Step::ForgetWwid(wwid())) && forgotten.contains(&Step::ForgetPaths(wwid())));
}

#[test]
fn b3_paths_that_disagree_are_refused_and_both_are_named() {
    let world = named(World::new().scanned(1).scanned(2), 2, wwid_ending(2));
    let error = refusal(world.attach(&attach_to(&[1, 2])));
    assert_eq!(error.kind, ErrorKind::Identity);
    assert!(error.message.contains("10.0.0.1") && error.message.contains("10.0.0.2"), "{error}");
}

#[test]
fn b3_an_expected_identity_must_be_met_by_the_first_path_already() {
    let goal = Attach { expected: Some(wwid_ending(2)), ..attach_to(&[1, 2]) };
    let world = World::new().scanned(1);
    assert_eq!(refusal(world.attach(&goal)).kind, ErrorKind::Identity);
    let world = named(world, 1, wwid_ending(2)).on_file();
    assert!(matches!(world.attach(&goal), Decision::Act { .. }));
}

/// C1, B4: the journal knows only what a disk has shown, and takes off the wwids file only what the journal knows.
#[test]
fn c1_an_expected_identity_is_not_claimed_before_a_disk_shows_it() {
    let goal = Attach { expected: Some(wwid_ending(2)), ..attach_to(&[1, 2]) };
    assert_eq!(steps(World::new().logged_in(1).logged_in(2).attach(&goal)), [scan(1)]);
    let shown = named(World::new().scanned(1), 1, wwid_ending(2));
    assert!(steps(shown.attach(&goal)).contains(&Step::ClaimWwid(wwid_ending(2))));
}

/// C9: where a device takes its time to become a disk, udev can claim it at its first event all the same.
#[test]
fn c9_the_identity_is_claimed_before_the_device_is_a_disk() {
    let device = World::new().logged_in(1).logged_in(2).disk(1).with_disk(1, |disk| disk.device.block = None);
    let found = device.running(scan(1));
    assert_eq!(steps(found.attach(&attach_to(&[1, 2]))), [Step::ClaimWwid(wwid())]);
    assert_eq!(steps(found.on_file().attach(&attach_to(&[1, 2]))), [scan(2)]);
}

/// B3: the identity is compared in single path too.
#[test]
fn b3_an_expected_identity_must_be_met_in_single_path() {
    let goal = Attach { expected: Some(wwid_ending(2)), ..single_to(&[1]) };
    let world = World::new().scanned(1).ok(read_disk(1));
    assert_eq!(refusal(world.attach(&goal)).kind, ErrorKind::Identity);
}

/// C8, B3: the holder of our disk is a map with another UUID.
#[test]
fn c8_a_map_that_holds_our_disk_but_is_another_volume_is_refused() {
    let mut world = World::new().scanned(1).map(&[1]).ok(read_map());
    let map: Map = world.topology.map.take().unwrap().map;
    world.topology.foreign_maps.push(Map { wwid: wwid_ending(2), ..map });
    let error = refusal(world.attach(&attach_to(&[1])));
    assert_eq!(error.kind, ErrorKind::Identity);
    assert!(error.message.contains("mpatha") && error.message.contains(wwid_ending(2).as_str()), "{error}");
}

/// D4: who joined a map of somebody else's could never give it back.
#[test]
fn d4_a_volume_that_others_have_attached_by_other_paths_is_refused() {
    let world =
        World::new().scanned(1).map(&[1]).with_map(|map| map.strangers.push(number(9))).ok(read_map());
    for goal in [attach_to(&[1]), single_to(&[1])] {
        let error = refusal(world.attach(&goal));
        assert_eq!(error.kind, ErrorKind::Identity);
        assert!(
            error.message.contains("mpatha") && error.message.contains(&number(9).to_string()),
            "{error}"
        );
    }
    let live = Attach { live: true, ..attach_to(&[1]) };
    assert_eq!(
        world.attach(&live),
        Decision::Done,
        "what is attached already stays so, whoever has joined it"
    );
}

/// B3: sysfs remembers the identity of the first scan, so a device that was there before ours proves nothing.
#[test]
fn b3_a_stale_device_is_deleted_and_scanned_anew() {
    for goal in [attach_to(&[1]), single_to(&[1])] {
        let world = World::new().logged_in(1).disk(1);
        assert_eq!(steps(world.attach(&goal)), [delete(1)]);
        let world = world.ok(delete(1));
        assert_eq!(steps(world.attach(&goal)), [], "it goes a moment later");
        assert_eq!(steps(world.no_disk(1).attach(&goal)), [scan(1)]);
    }
}

#[test]
fn b3_what_a_stale_device_says_counts_for_nothing() {
    let world = named(World::new().logged_in(1).disk(1).scanned(2), 1, wwid_ending(9)).on_file();
    let wanted = steps(world.attach(&attach_to(&[1, 2])));
    assert_eq!(wanted, [delete(1), add_map()]);
    let alone = World::new().logged_in(1).disk(1).on_file();
    assert!(!steps(alone.attach(&attach_to(&[1]))).contains(&add_map()));
}

#[test]
fn b3_a_stale_device_that_something_is_stacked_upon_is_refused() {
    let holder = "dm-7".parse().unwrap();
    let world = World::new().logged_in(1).disk(1);
    let world = world.with_disk(1, |disk| disk.device.block.as_mut().unwrap().holders = vec![holder]);
    let error = refusal(world.attach(&attach_to(&[1])));
    assert_eq!(error.kind, ErrorKind::Identity);
    assert!(error.message.contains("sdb") && error.message.contains("dm-7"), "{error}");
}

/// B3: mounted, or open in a virtual machine, is held as well: sysfs shows no holder then.
#[test]
fn b3_a_stale_device_that_is_open_is_refused() {
    for goal in [attach_to(&[1]), single_to(&[1])] {
        let world = World::new().logged_in(1).disk(1).opener("qemu-system-x86");
        let error = refusal(world.attach(&goal));
        assert_eq!(error.kind, ErrorKind::Identity);
        assert!(error.message.contains("qemu-system-x86"), "{error}");
        let passing = World::new().logged_in(1).disk(1).udev_opener();
        assert_eq!(steps(passing.attach(&goal)), [delete(1)]);
    }
}

/// B3: what an attachment of ours has is no stale device.
#[test]
fn b3_the_devices_of_a_live_attachment_are_trusted() {
    let live = Attach { live: true, ..attach_to(&[1]) };
    let world = World::new().logged_in(1).disk(1).on_file();
    assert_eq!(steps(world.attach(&live)), [add_map()]);
}
