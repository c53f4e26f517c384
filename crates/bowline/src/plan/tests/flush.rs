//! No data is lost silently: D7, D11, and what C1 leaves alone.

use std::time::Duration;

use bowline_host::layers::Kind;
use bowline_host::openers::Opener;

use super::build::*;
use crate::error::ErrorKind;
use crate::ledger::Ending;
use crate::plan::detach::Detach;
use crate::plan::{Decision, Step};
use crate::policy::OnDirty;

fn mapped() -> World {
    World::new().logged_in(1).disk(1).logged_in(2).disk(2).map(&[1, 2])
}

fn unmapped() -> World {
    World::new().logged_in(1).disk(1).logged_in(2).disk(2)
}

fn timed_out() -> Ending {
    Ending::TimedOut(Duration::from_secs(120))
}

#[test]
fn d7_the_map_is_flushed_before_anything_is_taken_apart() {
    assert_eq!(steps(mapped().detach(&detach_of(&[1, 2]))), [sync_map()]);
    assert_eq!(steps(mapped().running(sync_map()).detach(&detach_of(&[1, 2]))), []);
    assert_eq!(steps(mapped().ok(sync_map()).detach(&detach_of(&[1, 2]))), [remove_map()]);
}

#[test]
fn d7_a_disk_used_without_a_map_is_flushed_by_itself() {
    assert_eq!(steps(unmapped().detach(&detach_of(&[1, 2]))), [sync_disk(1), sync_disk(2)]);
}

/// D7: "stay as they were" is of all disks and sessions, so the slowest flush decides.
#[test]
fn d7_no_disk_goes_before_every_disk_is_flushed() {
    let one = unmapped().ok(sync_disk(1)).running(sync_disk(2)).logged_in(3);
    assert_eq!(steps(one.detach(&detach_of(&[1, 2, 3]))), []);
    let both = unmapped().ok(sync_disk(1)).ok(sync_disk(2)).logged_in(3);
    assert_eq!(steps(both.detach(&detach_of(&[1, 2, 3]))), [delete(1), delete(2), release(3)]);
}

/// D7: a partition has dirty pages of its own, and a write lost there is told to its own fsync alone.
#[test]
fn d7_partitions_are_flushed_with_the_device_below_them() {
    let map = mapped().under(partition());
    assert_eq!(steps(map.detach(&detach_of(&[1, 2]))), [sync_layer(&partition()), sync_map()]);
    assert_eq!(steps(map.clone().ok(sync_map()).detach(&detach_of(&[1, 2]))), [sync_layer(&partition())]);
    let flushed = map.clone().ok(sync_map()).ok(sync_layer(&partition()));
    assert_eq!(steps(flushed.detach(&detach_of(&[1, 2]))), [remove_map()]);
    let part = layer("sdb1", Kind::Partition);
    let disk = World::new().logged_in(1).disk(1).under(part.clone());
    assert_eq!(steps(disk.detach(&detach_of(&[1]))), [sync_layer(&part), sync_disk(1)]);
    let lost = map.ended(sync_layer(&partition()), Ending::Final("EIO".into())).ok(sync_map());
    let error = refusal(lost.detach(&detach_of(&[1, 2])));
    assert!(error.to_string().contains("a write to dm-4 is lost"), "{error}");
}

/// D11: the kernel tells of a lost write once, so it is passed on also where the volume is refused for its users.
#[test]
fn d11_a_lost_write_is_told_beside_a_user() {
    let lost = mapped().opener("dd").ended(sync_map(), Ending::Final("EIO".into()));
    let error = refusal(lost.detach(&detach_of(&[1, 2])));
    assert!(error.message.contains("in use"), "{error}");
    assert!(error.causes.iter().any(|cause| cause.contains("a write to dm-3 is lost")), "{error}");
}

/// D7: who looks for what to do at three in the morning reads it in the refusal.
#[test]
fn d7_an_active_logical_volume_is_named_with_what_to_do() {
    let mut world = mapped().under(logical_volume());
    world.topology.openers.push(Opener::Holder(logical_volume()));
    let error = refusal(world.detach(&detach_of(&[1, 2])));
    assert_eq!(error.causes, ["logical volume vg/data (dm-5) upon it"]);
    assert!(error.hints.iter().any(|hint| hint.contains("vgchange -an vg")), "{:?}", error.hints);
}

/// C1, D8: one that nobody has open goes, where the data is given up or was never there.
#[test]
fn d8_a_logical_volume_goes_before_the_map() {
    let remove = Step::RemoveLayer(logical_volume());
    for on_dirty in [OnDirty::Discard, OnDirty::NothingWritten] {
        let goal = Detach { on_dirty, ..detach_of(&[1]) };
        let world = World::new().scanned(1).map(&[1]).under(logical_volume());
        let world = world.ok(sync_map()).ok(sync_layer(&logical_volume()));
        assert_eq!(steps(world.detach(&goal)), std::slice::from_ref(&remove));
        let refused =
            (0..3).fold(world, |world, _| world.ended(remove.clone(), Ending::Failed("busy".into())));
        assert_eq!(steps(refused.detach(&goal)), [remove_map()]);
    }
}

#[test]
fn d7_a_live_opener_is_named_and_refused() {
    for world in [mapped(), unmapped()] {
        let error = refusal(world.opener("postgres").detach(&detach_of(&[1, 2])));
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.causes, ["process 4711 (postgres)"]);
    }
}

#[test]
fn d7_openers_that_pass_by_are_waited_for() {
    for (world, command) in [(mapped().udev_opener(), "blkid"), (mapped().opener("multipathd"), "multipathd")]
    {
        let decision = world.ok(sync_map()).detach(&detach_of(&[1, 2]));
        assert!(matches!(decision, Decision::Act { wake: Some(_), .. }));
        assert!(waits(decision.clone()).contains(command));
        assert_eq!(steps(decision), []);
    }
}

/// D11: the kernel reports a lost write once, and a second fsync would claim success.
#[test]
fn d11_an_i_o_error_is_final_and_everything_stays() {
    let world = mapped().ended(sync_map(), Ending::Final("Input/output error".into())).after_ms(100_000);
    let error = refusal(world.detach(&detach_of(&[1, 2])));
    assert_eq!(
        (error.kind, error.causes),
        (ErrorKind::Refused, vec!["flush dm-3, tried 1 times: Input/output error".to_owned()])
    );
    let world = unmapped().ok(sync_disk(1)).ended(sync_disk(2), Ending::Final("Input/output error".into()));
    assert!(refusal(world.detach(&detach_of(&[1, 2]))).message.contains("sdc"));
}

#[test]
fn d11_a_flush_that_hangs_is_tried_three_times_with_back_off() {
    let mut world = mapped();
    for _ in 0..2 {
        world = world.ended(sync_map(), timed_out());
        assert_eq!(steps(world.detach(&detach_of(&[1, 2]))), [], "not at once");
        world = world.after_ms(10_000);
        assert_eq!(steps(world.detach(&detach_of(&[1, 2]))), [sync_map()]);
    }
    let error = refusal(world.ended(sync_map(), timed_out()).after_ms(10_000).detach(&detach_of(&[1, 2])));
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.causes[0].contains("120.0 s"), "{error}");
}

/// D7: three cases, three errors. Only the kernel's count tells of an opener whose process is exiting.
#[test]
fn d7_the_error_says_which_of_the_three_cases_it_is() {
    let hung = (0..3).fold(mapped(), |world, _| world.ended(sync_map(), timed_out()).after_ms(10_000));
    let message = |world: World| refusal(world.detach(&detach_of(&[1, 2]))).message;
    assert!(message(hung.clone()).contains("cannot reach the target"));
    let ours = hung.clone().opener("bowline-helper");
    assert!(message(ours.clone()).contains("cannot reach the target"), "our own flush is no close");
    assert!(
        message(ours.clone().closing()).contains("cannot reach the target"),
        "who passes by has just closed it"
    );
    assert!(message(ours.close_hangs()).contains("a last close of map mpatha hangs"));
    let lost = mapped().ended(sync_map(), Ending::Final("Input/output error".into()));
    assert!(message(lost).contains("is lost"));
    assert!(message(hung.opener("dd")).contains("in use"));
}

/// D8: force goes on after every failure: a flush that fails, a user that does not close, a map that will not go.
#[test]
fn d8_force_goes_on_after_every_failure() {
    let force = Detach { on_dirty: OnDirty::Discard, ..detach_of(&[1, 2]) };
    let used = mapped().opener("postgres");
    assert_eq!(steps(used.detach(&force)), [sync_map()]);
    let lost = used.ended(sync_map(), Ending::Final("Input/output error".into()));
    assert_eq!(steps(lost.detach(&force)), [remove_map()]);
    let stays = (0..3).fold(lost, |world, _| world.failed(remove_map()).after_ms(7000));
    assert_eq!(steps(stays.detach(&force)), [delete(1), delete(2)]);
}

/// D8: the I/O that a dead map holds back is given up before its removal is tried.
#[test]
fn d8_force_stops_the_queueing_of_a_dead_map() {
    let dead = mapped().opener("bowline-helper").ended(sync_map(), timed_out()).with_map(|map| {
        map.map.queueing = true;
        map.map.paths.iter_mut().for_each(|path| path.active = false);
    });
    let force = Detach { on_dirty: OnDirty::Discard, ..detach_of(&[1, 2]) };
    assert_eq!(steps(dead.detach(&force)), [Step::StopQueueing("mpatha".parse().unwrap())]);
}

/// D7: whatever the reason was.
#[test]
fn d7_a_flush_that_was_not_done_is_never_taken_for_one_that_was() {
    let skip = || Ending::Skipped("not now".into());
    let mut world = mapped();
    for _ in 0..3 {
        world = world.ended(sync_map(), skip()).after_ms(10_000);
    }
    assert_eq!(refusal(world.detach(&detach_of(&[1, 2]))).kind, ErrorKind::Refused);
}

/// D7: where data counts, nothing is taken apart below a map that will not go.
#[test]
fn d7_a_map_that_will_not_go_keeps_its_paths_and_sessions() {
    let mut world = mapped().ok(sync_map());
    for _ in 0..40 {
        world = world.failed(remove_map()).after_ms(7000);
    }
    assert_eq!(world.detach(&detach_of(&[1, 2])), Decision::Done, "what is left is named by the caller");
}

#[test]
fn d7_a_map_that_was_flushed_leaves_disks_without_data() {
    let world = unmapped().ok(sync_map()).ok(remove_map());
    assert_eq!(steps(world.detach(&detach_of(&[1, 2]))), [delete(1), delete(2)]);
    let after_a_crash = Detach { flushed: true, ..detach_of(&[1, 2]) };
    assert_eq!(steps(unmapped().detach(&after_a_crash)), [delete(1), delete(2)]);
}

/// D7: I/O that a map holds back is given up only where the data is.
#[test]
fn d7_queueing_is_stopped_only_where_the_data_is_given_up() {
    let dead = mapped().with_map(|map| {
        map.map.queueing = true;
        map.map.paths.iter_mut().for_each(|path| path.active = false);
    });
    let stop = Step::StopQueueing("mpatha".parse().unwrap());
    let force = Detach { on_dirty: OnDirty::Discard, ..detach_of(&[1, 2]) };
    let hung = dead.clone().ended(sync_map(), timed_out());
    assert_eq!(steps(hung.detach(&force)), std::slice::from_ref(&stop));
    let read_by_udev = dead.clone().ok(sync_map()).udev_opener();
    assert_eq!(steps(read_by_udev.detach(&detach_of(&[1, 2]))), [stop], "only reads are given up");
    assert_eq!(
        steps(read_by_udev.closing().detach(&detach_of(&[1, 2]))),
        [],
        "and not what a last close writes"
    );
    assert_eq!(steps(dead.ok(sync_map()).detach(&detach_of(&[1, 2]))), [remove_map()], "nobody waits");
    let mut refused = hung;
    for _ in 0..2 {
        refused = refused.ended(sync_map(), timed_out()).after_ms(10_000);
    }
    assert_eq!(refusal(refused.detach(&detach_of(&[1, 2]))).kind, ErrorKind::Refused);
}

/// D7, B7: udev reads a map for minutes where most packets are lost. Once it is flushed, and nobody uses it, only reads
/// are given up.
#[test]
fn d7_who_reads_a_flushed_map_for_long_is_told_of_errors() {
    let map: bowline_host::MapName = "mpatha".parse().unwrap();
    let fail = |n| Step::FailPath { map: map.clone(), device: disk(n), number: number(n) };
    let read = mapped().ok(sync_map()).udev_opener();
    assert_eq!(steps(read.detach(&detach_of(&[1, 2]))), [], "it passes by");
    let long = read.after_ms(16_000);
    assert_eq!(steps(long.detach(&detach_of(&[1, 2]))), [fail(1), fail(2)]);
    assert_eq!(steps(long.clone().closing().detach(&detach_of(&[1, 2]))), [], "a last close writes");
    let again = long.clone().ok(fail(1)).ok(fail(2)).after_ms(1000);
    assert_eq!(steps(again.detach(&detach_of(&[1, 2]))), [fail(1), fail(2)], "multipathd found them well");
    assert_eq!(refusal(long.opener("qemu").detach(&detach_of(&[1, 2]))).kind, ErrorKind::Refused);
    let closed = mapped().ok(sync_map()).after_ms(16_000);
    assert_eq!(steps(closed.detach(&detach_of(&[1, 2]))), [remove_map()]);
}

/// D7, D11: whoever closes the map after its flush may lose what it wrote, and the next flush is told. Something else that has the map
/// open without showing in /proc stops no flush, so it is not flushed for ever.
#[test]
fn d7_d11_what_was_written_after_the_flush_is_flushed_too() {
    let world = mapped().ok(sync_map()).after_ms(1);
    let closing = |world: &World| Detach { closing: Some(world.now), flush_tries: 1, ..detach_of(&[1, 2]) };
    let goal = closing(&world);
    assert_eq!(steps(world.detach(&goal)), [sync_map()], "at once");
    let flushed = world.clone().ok(sync_map()).after_ms(1);
    assert_eq!(steps(flushed.detach(&goal)), [remove_map()], "it began after the close was seen");
    assert_eq!(steps(flushed.detach(&closing(&flushed))), [sync_map()], "another one");
    let held = flushed.ok(sync_map()).after_ms(1);
    assert_eq!(steps(held.detach(&closing(&held))), [remove_map()], "the kernel knows whether it is open");
    let lost = world.clone().ended(sync_map(), Ending::Final("Input/output error".into()));
    assert!(refusal(lost.detach(&goal)).message.contains("is lost"));
    let force = Detach { on_dirty: OnDirty::Discard, ..goal };
    assert_eq!(steps(world.detach(&force)), [sync_map()], "with force, too: what is lost is told");
    let hung = world.ended(sync_map(), timed_out());
    assert_eq!(steps(hung.detach(&force)), [remove_map()], "and then it goes on");
}

/// C1: nothing was handed out, so nothing is flushed.
#[test]
fn c1_the_clean_up_of_a_connect_flushes_nothing() {
    let undo = Detach { on_dirty: OnDirty::NothingWritten, ..detach_of(&[1]) };
    let world = World::new().scanned(1).map(&[1]);
    assert_eq!(steps(world.detach(&undo)), [remove_map()]);
    assert_eq!(steps(World::new().scanned(1).detach(&undo)), [delete(1)]);
}
