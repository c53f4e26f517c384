//! The loop and the verbs on a fake host in virtual time: what they do in which order, and that whatever call
//! fails, the host ends as it was or what is left is named.

mod bugs;
mod executor;
mod host;
mod model;

use std::sync::Mutex;
use std::time::Duration;

use bowline::event::{Observer, Silent};
use bowline::report::PathState;
use bowline::{
    Cancel, Canceller, ConnectOptions, Connected, Connection, DisconnectOptions, Disconnected, Error,
    ErrorKind, Event, Outcome, Which, connect, disconnect, undo_connect,
};
use serde_json::json;

use crate::executor::run;
use crate::host::FakeHost;
use crate::model::{IQN, Model, disk_name};

const SECRET: &str = "open-sesame-42";

fn connection(portals: &[u8]) -> Connection {
    let data = json!({
        "target_portals": portals.iter().map(|n| format!("10.0.0.{n}:3260")).collect::<Vec<_>>(),
        "target_iqns": vec![IQN; portals.len()],
        "target_luns": vec![1; portals.len()],
        "auth_method": "CHAP", "auth_username": "ali", "auth_password": SECRET,
    });
    Connection::from_json(data.to_string().as_bytes()).unwrap()
}

fn attach(host: &FakeHost, portals: &[u8]) -> Result<Connected, Error> {
    attach_watched(host, portals, &Silent, Cancel::never())
}

fn attach_watched(
    host: &FakeHost,
    portals: &[u8],
    observer: &dyn Observer,
    cancel: Cancel,
) -> Result<Connected, Error> {
    let connection = connection(portals);
    run(host, connect(host, &connection, &ConnectOptions::default(), observer, cancel))
}

fn detach(host: &FakeHost, portals: &[u8]) -> Result<Disconnected, Error> {
    let which = Which::Connection(Box::new(connection(portals)));
    run(host, disconnect(host, &which, &DisconnectOptions::default(), &Silent, Cancel::never()))
}

/// Nothing happened that must not: nothing undeclared, no lock across a login, no unbounded call, no secret shown.
#[track_caller]
fn nothing_wrong(host: &FakeHost) {
    let state = host.state();
    assert_eq!(state.wrongs, Vec::<String>::new());
    let shown = |text: &str| text.contains(SECRET);
    assert!(!state.log.iter().any(|line| shown(line)), "B8: {:?}", state.log);
    assert!(!state.stored.values().any(|bytes| shown(&String::from_utf8_lossy(bytes))), "B8: a state file");
}

/// Notes every event, and asks to stop after a number of them.
struct Notes {
    seen: Mutex<Vec<Event>>,
    stop: Option<(usize, Canceller)>,
}

impl Observer for Notes {
    fn event(&self, _at: Duration, event: &Event) {
        let mut seen = self.seen.lock().unwrap();
        seen.push(event.clone());
        if let Some((after, canceller)) = &self.stop
            && seen.len() == *after
        {
            canceller.cancel();
        }
    }
}

#[test]
fn c2_c3_four_portals_make_one_map_and_nothing_is_left_after_it() {
    let host = FakeHost::default();
    let attached = attach(&host, &[1, 2, 3, 4]).unwrap();
    assert_eq!(attached.device_node, "/dev/mapper/mpatha");
    assert_eq!((attached.paths.len(), attached.failed_paths.len(), attached.changed), (4, 0, true));
    assert_eq!(host.state().most_logins, 4, "C2");
    let made = host.state().log.iter().filter(|line| line.ends_with("-o new")).count();
    assert_eq!(made, 1, "iscsiadm makes one record of a target, those for its other portals are copies");
    let detached = detach(&host, &[1, 2, 3, 4]).unwrap();
    assert_eq!(detached.outcome, Outcome::Clean);
    assert_eq!(host.state().model, Model::default());
    assert!(host.state().stored.is_empty(), "{:?}", host.state().stored.keys());
    nothing_wrong(&host);
}

#[test]
fn c16_d15_twice_is_once() {
    let host = FakeHost::default();
    let first = attach(&host, &[1, 2]).unwrap();
    let before = host.state().model.clone();
    let second = attach(&host, &[1, 2]).unwrap();
    assert_eq!((second.id, second.changed), (first.id, false));
    assert_eq!(host.state().model, before);
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean);
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Unchanged);
    nothing_wrong(&host);
}

/// C16, B1: what is attached is returned as it is, also where fewer paths work than are asked for now; that is said, and each named.
#[test]
fn c16_b1_what_is_attached_with_too_few_paths_is_returned_and_says_so() {
    let again = |hurt: fn(&mut Model)| {
        let host = FakeHost::default();
        attach(&host, &[1, 2, 3]).unwrap();
        hurt(&mut host.state().model);
        let model = host.state().model.clone();
        let options = ConnectOptions { min_paths: Some(2), ..ConnectOptions::default() };
        let connection = connection(&[1, 2, 3]);
        let answer = run(&host, connect(&host, &connection, &options, &Silent, Cancel::never())).unwrap();
        assert!(!answer.changed && answer.map.is_some());
        assert_eq!(host.state().model, model);
        nothing_wrong(&host);
        answer
    };
    let failed = |answer: &Connected| -> Vec<String> {
        answer.failed_paths.iter().map(|path| format!("{} {}", path.portal, path.reason)).collect()
    };
    let too_few =
        |found: &Connected| found.warnings.iter().any(|warning| warning.starts_with("only 1 of the 2"));

    let down = again(|model| model.down.extend([2, 3]));
    let states: Vec<PathState> = down.paths.iter().map(|path| path.state).collect();
    assert_eq!(states, [PathState::Active, PathState::Failed, PathState::Failed]);
    let unused =
        |n| format!("10.0.0.{n}:3260 {} is in the map, but the kernel does not use it now", disk_name(n));
    assert_eq!(failed(&down), [unused(2), unused(3)]);
    assert!(too_few(&down) && !down.unfinished, "{:?}", down.warnings);

    let gone = again(|model| {
        for paths in [&mut model.sessions, &mut model.disks].into_iter().chain(&mut model.map) {
            paths.retain(|n| *n == 1);
        }
    });
    assert_eq!((gone.paths.len(), gone.failed_paths.len()), (1, 2));
    let named = failed(&gone);
    assert!(named[0].starts_with("10.0.0.2:3260 not there yet"), "{named:?}");
    assert!(too_few(&gone), "{:?}", gone.warnings);

    let enough = again(|model| model.down.extend([3]));
    assert_eq!(enough.warnings, ["1 of 3 paths do not work"]);
}

/// C1, D9: after a reboot a volume is attached on file, and nothing of it is there but node records and the line of the wwids file.
#[test]
fn c1_d9_what_is_gone_is_attached_anew_or_undone_over_all_its_portals() {
    let gone = || {
        let host = FakeHost::default();
        attach(&host, &[1, 2]).unwrap();
        let mut state = host.state();
        let Model { records, wwid_on_file, .. } = state.model.clone();
        state.model = Model { records, wwid_on_file, ..Model::default() };
        drop(state);
        host
    };
    let host = gone();
    assert!(attach(&host, &[1, 2]).unwrap().changed);
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean);
    assert_eq!(host.state().model, Model::default());

    let host = gone();
    host.state().dead = [1].into();
    let error = attach(&host, &[1]).unwrap_err();
    assert_eq!((error.kind, error.leftovers), (ErrorKind::NotAttached, Vec::new()));
    assert_eq!(host.state().model, Model::default());
    assert!(host.state().stored.is_empty(), "{:?}", host.state().stored.keys());
    nothing_wrong(&host);
}

/// D14: a release looks for a login that outlived its process, but not where the attachment knows that there is none.
#[test]
fn d14_logins_that_were_answered_are_not_looked_for() {
    let host = FakeHost::default();
    attach(&host, &[1, 2]).unwrap();
    host.state().searches = 0;
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean);
    assert_eq!(host.state().searches, 0);

    attach(&host, &[1, 2]).unwrap();
    let mut state = host.state();
    // A process that died has noted a login of its own.
    for (_, bytes) in state.stored.iter_mut().filter(|(name, _)| name.starts_with("claims/")) {
        let mut claim: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        claim["login_until"] = (claim["login_until"].as_u64().unwrap() + 1).into();
        *bytes = claim.to_string().into_bytes();
    }
    state.searches = 0;
    drop(state);
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean);
    assert!(host.state().searches >= 2, "one search for each endpoint");
    nothing_wrong(&host);
}

/// C1, B7: the dead portal costs only itself.
#[test]
fn c1_one_dead_portal_is_named_and_the_map_is_made_of_the_others() {
    let host = FakeHost::default();
    host.state().dead.insert(2);
    let attached = attach(&host, &[1, 2, 3]).unwrap();
    let missing: Vec<String> = attached.failed_paths.iter().map(|path| path.portal.to_string()).collect();
    assert_eq!((attached.paths.len(), missing), (2, vec!["10.0.0.2:3260".to_owned()]));
    assert_eq!(detach(&host, &[1, 2, 3]).unwrap().outcome, Outcome::Clean);
    assert_eq!(host.state().model, Model::default());
    nothing_wrong(&host);
}

#[test]
fn c1_b7_with_every_portal_dead_it_fails_in_time_and_the_host_is_clean() {
    let host = FakeHost::default();
    host.state().dead.extend([1, 2]);
    let error = attach(&host, &[1, 2]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotAttached, "{error}");
    assert!(bowline_host::Host::now(&host).0 <= ConnectOptions::default().deadline);
    assert_eq!(host.state().model, Model::default());
    assert!(host.state().stored.is_empty());
    nothing_wrong(&host);
}

/// D4: a record that was there keeps its settings; the map's path list does not matter to it.
#[test]
fn d4_a_record_of_somebody_else_gets_its_values_back() {
    let host = FakeHost::default();
    host.state().model.records.insert(1, Model::default_record(1));
    attach(&host, &[1, 2]).unwrap();
    assert_eq!(host.state().model.records[&1]["node.session.scan"], "manual");
    detach(&host, &[1, 2]).unwrap();
    let state = host.state();
    let keys: Vec<u8> = state.model.records.keys().copied().collect();
    assert_eq!(keys, [1]);
    for (key, value) in Model::default_record(1) {
        assert_eq!(state.model.records[&1].get(&key), Some(&value), "{key}");
    }
}

/// C1: SIGINT and SIGTERM end up here.
#[test]
fn c1_a_connect_that_is_interrupted_anywhere_leaves_nothing() {
    let mut interrupted = 0;
    for after in 1..60 {
        let host = FakeHost::default();
        let canceller = Canceller::default();
        let cancel = canceller.listener();
        let notes = Notes { seen: Mutex::default(), stop: Some((after, canceller)) };
        if let Err(error) = attach_watched(&host, &[1, 2], &notes, cancel) {
            interrupted += 1;
            assert_eq!(error.kind, ErrorKind::NotAttached, "after event {after}: {error}");
            assert_eq!(host.state().model, Model::default(), "after event {after}");
            assert!(host.state().stored.is_empty(), "after event {after}");
        }
        nothing_wrong(&host);
    }
    assert!(interrupted >= 8, "only {interrupted} were interrupted");
}

/// B7, C1: a verb that only waits for another one is interrupted at once, and has touched nothing.
#[test]
fn b7_c1_a_verb_that_waits_for_the_volume_is_interrupted_at_once() {
    let hold = |host: &FakeHost| {
        let lock = "volume-".to_owned() + &bowline::journal::digest(&format!("{IQN} 1"));
        run(host, bowline_host::Host::lock(host, &lock, Duration::ZERO)).unwrap()
    };
    let watched = |host: &FakeHost| {
        let canceller = Canceller::default();
        let cancel = canceller.listener();
        let held = hold(host);
        // The first event is that it waits.
        (held, Notes { seen: Mutex::default(), stop: Some((1, canceller)) }, cancel)
    };
    let waited = |notes: Notes| {
        let seen = notes.seen.into_inner().unwrap();
        assert!(matches!(&*seen, [Event::WaitingForLock { .. }]), "{seen:?}");
    };
    let now = |host: &FakeHost| bowline_host::Host::now(host);
    let soon = Duration::from_secs(1);

    let host = FakeHost::default();
    let (_held, notes, cancel) = watched(&host);
    let began = now(&host);
    let error = attach_watched(&host, &[1, 2], &notes, cancel).unwrap_err();
    assert_eq!((error.kind, &*error.message), (ErrorKind::NotAttached, "the connect was interrupted"));
    assert!(now(&host).since(began) < soon);
    waited(notes);
    assert_eq!(host.state().model, Model::default());
    assert!(host.state().stored.is_empty());

    let host = FakeHost::default();
    attach(&host, &[1, 2]).unwrap();
    let as_it_was = |host: &FakeHost| {
        let state = host.state();
        (state.model.clone(), state.stored.clone())
    };
    let before = as_it_was(&host);
    let (held, notes, cancel) = watched(&host);
    let which = Which::Connection(Box::new(connection(&[1, 2])));
    let options = DisconnectOptions::default();
    let began = now(&host);
    let error = run(&host, disconnect(&host, &which, &options, &notes, cancel)).unwrap_err();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Refused, "the disconnect was interrupted"));
    assert!(now(&host).since(began) < soon);
    waited(notes);
    assert_eq!(as_it_was(&host), before);

    drop(held);
    let (held, notes, cancel) = watched(&host);
    let id = bowline::journal::id_of(&connection(&[1, 2]).paths);
    let began = now(&host);
    let finished = run(&host, bowline::finish(&host, &id, Duration::from_secs(60), &notes, cancel));
    assert_eq!(finished, Ok(bowline::Finished::GaveWay));
    assert!(now(&host).since(began) < soon);
    drop(held);
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean);
    nothing_wrong(&host);
}

/// C1, D9: every single call of the seam fails once.
#[test]
fn c1_d9_whatever_call_fails_the_host_is_as_it_was_or_what_is_left_is_named() {
    let whole = FakeHost::default();
    attach(&whole, &[1, 2]).unwrap();
    let calls = whole.state().calls;
    assert!(calls > 100, "{calls}");
    let mut failed = 0;
    for n in 1..=calls {
        let host = FakeHost::default();
        host.state().fail_at.insert(n);
        let result = attach(&host, &[1, 2]);
        match &result {
            Ok(attached) => assert!(attached.map.is_some(), "call {n}"),
            Err(error) => {
                failed += 1;
                let clean = host.state().model == Model::default();
                assert!(clean || error.kind == ErrorKind::Leftovers, "call {n}: {error}");
                assert_eq!(
                    error.kind == ErrorKind::Leftovers,
                    !error.leftovers.is_empty(),
                    "call {n}: {error}"
                );
                assert!(!error.to_string().contains(SECRET), "B8: call {n}");
            }
        }
        nothing_wrong(&host);
        // Whatever was left, the next disconnect takes away.
        host.state().fail_at.clear();
        detach(&host, &[1, 2]).unwrap_or_else(|error| panic!("after call {n}: {error}"));
        assert_eq!(host.state().model, Model::default(), "after call {n}: {result:?}");
    }
    assert!(failed > 10, "only {failed} of {calls} failed");
}

/// C1, D9: the clean-up fails as well.
#[test]
fn c1_d9_when_the_clean_up_fails_too_what_is_left_is_named() {
    for (first, second) in (30..230).step_by(9).flat_map(|n| [1, 8, 40].map(|more| (n, n + more))) {
        let host = FakeHost::default();
        host.state().fail_at.extend([first, second]);
        let result = attach(&host, &[1, 2]);
        if let Err(error) = &result {
            let clean = host.state().model == Model::default();
            assert!(clean || error.kind == ErrorKind::Leftovers, "calls {first} and {second}: {error}");
        }
        host.state().fail_at.clear();
        detach(&host, &[1, 2]).unwrap_or_else(|error| panic!("after {first} and {second}: {error}"));
        assert_eq!(host.state().model, Model::default(), "after {first} and {second}: {result:?}");
        nothing_wrong(&host);
    }
}

/// D7, D9: a refusal has changed nothing, and every other failure names what is left.
#[test]
fn d7_d9_whatever_call_fails_a_disconnect_is_done_refused_or_says_what_is_left() {
    let attached = || {
        let host = FakeHost::default();
        attach(&host, &[1, 2]).unwrap();
        host
    };
    let whole = attached();
    let before = whole.state().calls;
    let model = whole.state().model.clone();
    detach(&whole, &[1, 2]).unwrap();
    let after = whole.state().calls;
    for n in before + 1..=after {
        let host = attached();
        host.state().fail_at.insert(n);
        let result = detach(&host, &[1, 2]);
        let is = host.state().model.clone();
        match &result {
            Ok(_) => assert_eq!(is, Model::default(), "call {n}"),
            Err(error) if error.kind == ErrorKind::Leftovers => assert!(!error.leftovers.is_empty()),
            Err(error) => assert_eq!(is, model, "call {n}: {error}"),
        }
        host.state().fail_at.clear();
        let again = detach(&host, &[1, 2]);
        assert!(again.is_ok() && host.state().model == Model::default(), "call {n}: {result:?}, {again:?}");
        nothing_wrong(&host);
    }
}

/// D7, D11, K1: the kernel tells of a lost write once, so what an earlier disconnect was told is told by the one that detaches.
#[test]
fn d7_d11_a_lost_write_is_not_forgotten() {
    let host = FakeHost::default();
    attach(&host, &[1, 2]).unwrap();
    host.state().lost_write = true;
    let error = detach(&host, &[1, 2]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.to_string().contains("is lost"), "{error}");
    let detached = detach(&host, &[1, 2]).unwrap();
    assert_eq!(detached.outcome, Outcome::DataMayBeLost);
    assert_eq!(detached.warnings.len(), 1, "{:?}", detached.warnings);
    assert_eq!(host.state().model, Model::default());
    attach(&host, &[1, 2]).unwrap();
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean, "another attachment has not lost it");
}

/// D4: the map, its disks and sessions go also while multipathd is away; it is handed the work where it runs.
#[test]
fn d4_without_multipathd_multipath_itself_removes_the_map() {
    for away in [true, false] {
        let host = FakeHost::default();
        attach(&host, &[1, 2]).unwrap();
        host.state().no_multipathd = away;
        let detached = detach(&host, &[1, 2]).unwrap();
        assert_eq!(detached.outcome, Outcome::Clean, "{detached:?}");
        assert_eq!(host.state().log.contains(&"multipath -f mpatha".to_owned()), away);
        assert_eq!(host.state().model, Model::default());
        nothing_wrong(&host);
    }
}

/// D4, D9: a device that a scan of the finisher's brings in during the release is not another volume's.
#[test]
fn d4_d9_a_scan_that_lands_while_its_session_is_released_leaves_nothing() {
    let host = FakeHost::default();
    attach(&host, &[1, 2]).unwrap();
    host.state().lands = Some(2);
    detach(&host, &[1, 2]).unwrap();
    assert_eq!(host.state().lands, None, "it landed");
    assert_eq!(host.state().model, Model::default());
    nothing_wrong(&host);
}

/// D4, D9: bowline gives up a session that others need, and says that it stays, why, and how it is ended.
#[test]
fn d4_d9_a_session_that_stays_for_others_is_told_of() {
    let host = FakeHost::default();
    attach(&host, &[1, 2]).unwrap();
    host.state().model.strangers.insert(2);
    let detached = detach(&host, &[1, 2]).unwrap();
    assert_eq!((detached.outcome, detached.leftovers), (Outcome::Clean, vec![]));
    let [warning] = &*detached.warnings else { panic!("{:?}", detached.warnings) };
    assert!(warning.starts_with(&format!("session 2 to {IQN} at 10.0.0.2:3260 stays")), "{warning}");
    let by_hand = format!("iscsiadm -m node -T {IQN} -p 10.0.0.2:3260 -I default");
    let ends = format!("`{by_hand} --logout && {by_hand} -o delete`");
    assert!(warning.contains("SCSI device 2:0:0:9;") && warning.ends_with(&ends), "{warning}");
    assert_eq!(host.state().model.sessions, [2].into());
    // It is not bowline's any more.
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Unchanged);
    assert_eq!(host.state().model.sessions, [2].into());
    nothing_wrong(&host);
}

#[test]
fn b10_a_person_sees_every_path_go_from_login_to_map() {
    let host = FakeHost::default();
    let notes = Notes { seen: Mutex::default(), stop: None };
    attach_watched(&host, &[1, 2], &notes, Cancel::never()).unwrap();
    let seen = notes.seen.into_inner().unwrap();
    let count = |is_it: fn(&Event) -> bool| seen.iter().filter(|event| is_it(event)).count();
    assert_eq!(count(|event| matches!(event, Event::PathLoggingIn { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::PathLoggedIn { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::DeviceAppeared { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::PathJoined { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::MapReady { paths: 2, .. })), 1);
    assert!(!format!("{seen:?}{}", serde_json::to_string(&seen).unwrap()).contains(SECRET), "B8");
}

#[test]
fn b8_the_secret_reaches_the_record_and_nothing_else() {
    let host = FakeHost::default();
    let attached = attach(&host, &[1]).unwrap();
    let written = host.state().model.records[&1].get("node.session.auth.password").cloned();
    assert_eq!(written.as_deref(), Some(SECRET));
    assert!(!serde_json::to_string(&attached).unwrap().contains(SECRET));
    nothing_wrong(&host);
}

/// D6, D12, C8: nothing is found through /dev, and no program looks at maps or paths.
#[test]
fn d6_d12_nothing_is_probed_and_nothing_is_found_through_dev() {
    let host = FakeHost::default();
    attach(&host, &[1, 2]).unwrap();
    detach(&host, &[1, 2]).unwrap();
    let state = host.state();
    // Whether the node that is handed out is there is looked at, once the map is known.
    assert!(state.dev.iter().all(|path| path == "/dev/mapper/mpatha"), "{:?}", state.dev);
    let multipath = state.log.iter().filter(|line| line.starts_with("multipath "));
    assert!(
        multipath.clone().all(|line| line.starts_with("multipath -a") || line.starts_with("multipath -w"))
    );
    assert!(!state.log.iter().any(|line| line.contains("show maps") || line.contains("show topology")));
}

/// A service spawns the verbs as tasks of a runtime with many threads.
#[test]
fn the_verbs_can_change_threads() {
    fn changes_threads(_: impl Future + Send) {}
    let host = FakeHost::default();
    let connection = connection(&[1]);
    let which = Which::Connection(Box::new(connection.clone()));
    let (attach, detach) = (ConnectOptions::default(), DisconnectOptions::default());
    changes_threads(connect(&host, &connection, &attach, &Silent, Cancel::never()));
    let bug = Error::new(ErrorKind::Internal, "a bug");
    changes_threads(undo_connect(&host, &connection, bug, Duration::ZERO, Duration::ZERO, &Silent));
    changes_threads(disconnect(&host, &which, &detach, &Silent, Cancel::never()));
    changes_threads(bowline::finish(&host, "bl-1", Duration::ZERO, &Silent, Cancel::never()));
}
