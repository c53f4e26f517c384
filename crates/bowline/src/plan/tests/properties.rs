//! What holds whatever the host looks like and whatever was tried: safety first (C1, C14, C16, D7, D14), then that no
//! decision leaves the loop asleep for ever (B7).

use std::collections::BTreeSet;
use std::time::Duration;

use bowline_host::Moment;
use bowline_host::iscsi::SessionState;
use bowline_host::names::BlockName;
use bowline_host::scsi::DeviceState;
use proptest::prelude::*;

use super::build::*;
use crate::ledger::Ending;
use crate::plan::attach::Attach;
use crate::plan::detach::Detach;
use crate::plan::{Decision, Step};
use crate::policy::OnDirty;

/// Paths 1 to 3 are the goal's; 4 is another connection's.
const OTHER: u8 = 4;
const OURS: [u8; 3] = [1, 2, 3];

/// One path, in small numbers that choose.
type Shape = (u8, u8, u8, u8, u8);

fn with_path(world: World, n: u8, (claim, session, disk, udev, others): Shape) -> World {
    let world = match claim {
        0 => world,
        1 => world.prepared(n),
        2 => world.prepared(n).claimed_by(n, &["bl-somebodyelse"]),
        3 => world.prepared(n).claimed_by(n, &[ID, "bl-somebodyelse"]),
        _ => {
            let mut world = world.prepared(n);
            world.claims.get_mut(&endpoint(n)).unwrap().made_session = false;
            world
        }
    };
    let state = match session {
        0 => return world,
        1 => SessionState::Failed,
        2 => SessionState::Free,
        _ => SessionState::LoggedIn,
    };
    let mut world = world.session(n, state);
    world.session_mut(n).others = usize::from(others);
    if disk == 0 {
        return world;
    }
    world.disk(n).with_disk(n, |view| {
        match disk {
            1 => view.device.block = None,
            2 => view.device.state = DeviceState::Going,
            3 => view.device.wwid = None,
            4 => view.device.wwid = Some(wwid_ending(2)),
            5 => view.device.block.as_mut().unwrap().holders = vec!["dm-9".parse().unwrap()],
            _ => {}
        }
        match udev {
            0 => view.udev = None,
            1 => {
                let properties = &mut view.udev.as_mut().unwrap().properties;
                properties.insert("DM_MULTIPATH_DEVICE_PATH".into(), "1".into());
            }
            _ => {}
        }
    })
}

fn step(kind: u8, n: u8) -> Step {
    let gone = Step::DeleteDevice { hctl: hctl(n), block: Some(disk(n)) };
    match kind {
        0 => prepare(n),
        1 => login(n),
        2 | 3 => scan(n),
        4 => delete(n),
        5 => gone,
        6 => release(n),
        7 => read_disk(n),
        8 => sync_disk(n),
        9 => Step::AddPath(disk(n)),
        10 => add_map(),
        11 => read_map(),
        12 => sync_map(),
        13 => remove_map(),
        14 => Step::StopQueueing("mpatha".parse().unwrap()),
        15 => Step::ForgetPaths(wwid()),
        16 => Step::ForgetWwid(wwid()),
        17 => Step::SetAside(disk(n)),
        _ => Step::ClaimWwid(wwid()),
    }
}

/// What was tried: kind, path, ending, milliseconds until the next.
fn with_history(mut world: World, history: &[(u8, u8, u8, u16)]) -> World {
    for (kind, n, ending, ms) in history {
        let step = step(*kind, *n);
        if !world.ledger.running(&step) {
            world = match ending {
                0 => world.running(step),
                1 => world.failed(step),
                2 => world.ended(step, Ending::Final("no".into())),
                3 => world.ended(step, Ending::TimedOut(Duration::from_secs(1))),
                4 => world.ended(step, Ending::Skipped("not now".into())),
                _ => world.ok(step),
            };
        }
        world = world.after_ms(u64::from(*ms));
    }
    world
}

fn with_map(world: World, (kind, members): (u8, [bool; 3])) -> World {
    let members: Vec<u8> =
        OURS.into_iter().zip(members).filter(|(_, member)| *member).map(|(n, _)| n).collect();
    match kind {
        0..=2 => world,
        3 => world.map(&members).with_map(|map| map.node = false),
        4 => world.map(&members).with_map(|map| map.map.queueing = true),
        5 => {
            world.map(&members).with_map(|map| map.map.paths.iter_mut().for_each(|path| path.active = false))
        }
        6 => world.map(&members).with_map(|map| map.strangers.push(number(OTHER))),
        8 => world.map(&[]).with_map(|map| map.map.live = false),
        7 => {
            let mut world = world.map(&members);
            world.topology.foreign_maps.extend(world.topology.map.take().map(|view| view.map));
            world
        }
        _ => world.map(&members),
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let shape = || (0..5u8, 0..5u8, 0..10u8, 0..4u8, 0..2u8);
    let history = prop::collection::vec((0..19u8, 1..5u8, 0..8u8, 0..5000u16), 0..12);
    let map = (0..12u8, any::<[bool; 3]>());
    (prop::array::uniform4(shape()), history, map, 0..5u8, any::<bool>()).prop_map(
        |(shapes, history, map, opener, on_file)| {
            let world =
                (1..=4).zip(shapes).fold(World::new(), |world, (n, shape)| with_path(world, n, shape));
            let mut world = with_history(with_map(world, map), &history);
            world.topology.wwid_on_file |= on_file;
            match opener {
                0 => world.opener("postgres"),
                1 => world.udev_opener(),
                _ => world,
            }
        },
    )
}

fn any_attach() -> impl Strategy<Value = Attach> {
    (any::<[bool; 4]>(), 1..120u64).prop_map(|([multipath, allow, live, expected], deadline)| Attach {
        multipath,
        allow_single_device: allow,
        live,
        expected: expected.then(wwid),
        deadline: Moment(Duration::from_secs(deadline)),
        ..attach_to(&OURS)
    })
}

fn any_detach() -> impl Strategy<Value = Detach> {
    let dirty = prop::sample::select(vec![
        OnDirty::Refuse,
        OnDirty::Refuse,
        OnDirty::Discard,
        OnDirty::NothingWritten,
    ]);
    (dirty, any::<[bool; 3]>()).prop_map(|(on_dirty, [known, flushed, keep_wwid])| Detach {
        on_dirty,
        flushed,
        keep_wwid,
        wwid: known.then(wwid),
        ..detach_of(&OURS)
    })
}

fn wanted(decision: &Decision) -> &[Step] {
    match decision {
        Decision::Act { steps, .. } => steps,
        _ => &[],
    }
}

/// The disk or path a step touches; `None` for steps on the map or the identity.
fn touched(step: &Step) -> Option<u8> {
    let by_name = |name: &BlockName| (1..=OTHER).find(|n| disk(*n) == *name);
    match step {
        Step::PrepareRecord(e) | Step::Login(e) | Step::Release(e) | Step::Scan { endpoint: e, .. } => {
            (1..=OTHER).find(|n| endpoint(*n) == *e)
        }
        Step::DeleteDevice { hctl, .. } => u8::try_from(hctl.host.0).ok(),
        Step::AddPath(device) => by_name(device),
        Step::VerifyRead { device, .. } | Step::Sync { device, .. } => by_name(device),
        _ => None,
    }
}

/// What holds for every decision: nothing runs twice, nothing outside the goal is touched, something wakes the loop.
fn sound(world: &World, decision: &Decision) -> Result<(), TestCaseError> {
    let steps = wanted(decision);
    let distinct: BTreeSet<&Step> = steps.iter().collect();
    prop_assert_eq!(distinct.len(), steps.len(), "a step is wanted twice");
    for step in steps {
        prop_assert!(!world.ledger.running(step), "{} runs already", step);
        prop_assert!(touched(step) != Some(OTHER), "{} is another connection's", step);
        if let Step::Scan { endpoint, scsi_host, .. } = step {
            let own = world.topology.session(endpoint).map(|view| view.session.scsi_host);
            prop_assert_eq!(own, Some(*scsi_host), "C13");
        }
    }
    if let Decision::Act { steps, wake, .. } = decision {
        let runs = world.ledger.entries().iter().any(|entry| entry.ended.is_none());
        prop_assert!(!steps.is_empty() || wake.is_some() || runs, "B7: nothing wakes the loop");
    }
    Ok(())
}

/// Whether a device was brought in by us, as far as anything tells.
fn may_be_ours(world: &World, n: u8) -> bool {
    let scanned = world.ledger.tries(&scan(n)).next().is_some() || world.ledger.succeeded(&login(n));
    let worked = [prepare(n), login(n)].iter().any(|step| world.ledger.tries(step).next().is_some());
    let claim = world.claims.get(&endpoint(n));
    scanned || (!worked && claim.is_some_and(|claim| claim.made_session && claim.users.contains(ID)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b7_every_decision_is_sound_and_the_same_each_time(
        world in any_world(), attach in any_attach(), detach in any_detach(),
    ) {
        let forth = world.attach(&attach);
        sound(&world, &forth)?;
        prop_assert_eq!(forth, world.attach(&attach));
        let back = world.detach(&detach);
        sound(&world, &back)?;
        prop_assert_eq!(back, world.detach(&detach));
    }

    #[test]
    fn d7_d14_where_data_counts_nothing_goes_below_a_map_or_before_a_flush(world in any_world()) {
        let decision = world.detach(&detach_of(&OURS));
        let steps = wanted(&decision);
        let mapped = world.topology.map.is_some();
        let removed = world.ledger.tries(&remove_map()).next().is_some();
        for step in steps {
            let apart = matches!(step, Step::DeleteDevice { .. } | Step::Release(_));
            prop_assert!(!(apart && mapped), "{} below the map", step);
            let used = world.topology.openers.iter().any(|opener| !opener.passes_by());
            let given_up = matches!(step, Step::StopQueueing(_) | Step::FailPath { .. });
            prop_assert!(!(given_up && used), "a user's I/O is given up");
            if given_up || matches!(step, Step::RemoveMap { .. }) {
                prop_assert!(world.ledger.succeeded(&sync_map()), "not flushed");
            }
            if apart && !removed {
                for n in OURS {
                    let there = world.topology.device(&path(n)).is_some_and(|view| view.block().is_some());
                    prop_assert!(!there || world.ledger.succeeded(&sync_disk(n)), "{} is not flushed", disk(n));
                }
            }
            if let Step::Release(of) = step {
                let there = world.topology.session(of).is_some_and(|view| !view.devices.is_empty());
                prop_assert!(!there, "D14: {} with its device there", step);
            }
        }
        let users = world.topology.openers.iter().any(|opener| !opener.passes_by());
        prop_assert!(!users || steps.is_empty(), "somebody uses it");
    }

    #[test]
    fn c1_the_clean_up_of_a_connect_takes_only_what_the_connect_brought_in(world in any_world()) {
        let undo = Detach { on_dirty: OnDirty::NothingWritten, ..detach_of(&OURS) };
        let decision = world.detach(&undo);
        let somebody_s = |n: &u8| world.topology.device(&path(*n)).is_some() && !may_be_ours(&world, *n);
        for step in wanted(&decision) {
            match step {
                Step::DeleteDevice { hctl, .. } => {
                    prop_assert!(may_be_ours(&world, u8::try_from(hctl.host.0).unwrap()), "{}", step);
                }
                Step::RemoveMap { .. } | Step::StopQueueing(_) => {
                    let map = world.topology.map.as_ref().unwrap();
                    let theirs = OURS.iter().filter(|n| somebody_s(n)).any(|n| {
                        let device = world.topology.device(&path(*n)).unwrap();
                        let may_get = !map.map.live && !device.tells_another(Some(&map.map.wwid));
                        may_get || device.block().is_some_and(|block| map.has(block.number))
                    });
                    prop_assert!(!theirs && map.strangers.is_empty(), "{} of somebody's", step);
                }
                Step::ForgetWwid(wwid) => {
                    let its = |n: &u8| {
                        let told = &world.topology.device(&path(*n)).unwrap().device.wwid;
                        told.as_ref().is_none_or(|told| told == wwid)
                    };
                    prop_assert!(!OURS.iter().any(|n| somebody_s(n) && its(n)), "{}", step);
                }
                Step::Sync { .. } => prop_assert!(false, "nothing was written"),
                _ => {}
            }
        }
    }

    #[test]
    fn c16_b3_a_connect_takes_nothing_apart_that_lives_or_is_held(world in any_world(), goal in any_attach()) {
        let decision = world.attach(&goal);
        for step in wanted(&decision) {
            match step {
                Step::RemoveMap { .. } | Step::StopQueueing(_) => {
                    prop_assert!(!goal.live && !goal.multipath, "{}", step);
                }
                Step::DeleteDevice { hctl, .. } => {
                    prop_assert!(!goal.live, "C16: {}", step);
                    let n = u8::try_from(hctl.host.0).unwrap();
                    let stale = !may_be_ours(&world, n);
                    let device = world.topology.device(&path(n)).unwrap();
                    let stacked = device.block().is_some_and(|block| !block.holders.is_empty());
                    let open = world.topology.openers.iter().any(|opener| !opener.passes_by());
                    prop_assert!(!(stale && (stacked || open)), "B3: {} is held", step);
                }
                Step::Sync { .. } => prop_assert!(false, "nothing was written"),
                _ => {}
            }
        }
    }

    #[test]
    fn c14_single_path_works_at_one_portal_at_a_time(world in any_world(), goal in any_attach()) {
        let decision = world.attach(&Attach { multipath: false, ..goal });
        let portals: BTreeSet<u8> = wanted(&decision).iter().filter_map(touched).collect();
        prop_assert!(portals.len() <= 1, "{:?}", wanted(&decision));
    }

    #[test]
    fn b7_an_attach_ends_at_its_deadline(world in any_world(), goal in any_attach()) {
        let late = World { now: world.now.max(goal.deadline), ..world };
        // Only what is owed to the caller may still be found out then: whether the device can be read.
        let reads = goal.live || goal.allow_single_device;
        if let Decision::Act { steps, .. } = late.attach(&goal) {
            let only_reads = steps.iter().all(|step| matches!(step, Step::VerifyRead { .. }));
            let cleans = !goal.multipath && !steps.is_empty();
            prop_assert!((reads && only_reads) || cleans || !goal.multipath, "{:?}", steps);
        }
    }

    #[test]
    fn d15_where_nothing_of_the_volume_exists_a_detach_is_done(goal in any_detach(), other in any::<[u8; 5]>()) {
        let [a, b, c, d, e] = other;
        let world = with_path(World::new(), OTHER, (a % 5, b % 5, c % 10, d % 4, e % 2));
        prop_assert_eq!(world.detach(&goal), Decision::Done);
    }
}
