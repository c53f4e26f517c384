//! What the command does about a connect that a bug of ours ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use bowline::event::{Observer, Silent};
use bowline::{Cancel, Error, ErrorKind, Event, Outcome, undo_connect};

use crate::executor::run;
use crate::host::FakeHost;
use crate::model::Model;
use crate::{attach, attach_watched, connection, detach, nothing_wrong};

/// A connect that a bug ends; then what the command does about it. Nothing where the bug was not met.
fn attach_with_a_bug(host: &FakeHost, observer: &dyn Observer) -> Option<Error> {
    let began = bowline_host::Host::now(host);
    let attach = || attach_watched(host, &[1, 2], observer, Cancel::never());
    let Err(_) = catch_unwind(AssertUnwindSafe(attach)) else { return None };
    let bug = Error::new(ErrorKind::Internal, "a bug");
    let (lasted, limit) = (bowline_host::Host::now(host).since(began), Duration::from_secs(60));
    let began = bowline_host::Host::now(host);
    let error = run(host, undo_connect(host, &connection(&[1, 2]), bug, lasted, limit, &Silent));
    assert!(bowline_host::Host::now(host).since(began) <= limit, "B7");
    assert_eq!(error.message, "a bug");
    Some(error)
}

/// C1: an unexpected internal error, at every single call of the seam.
#[test]
fn c1_a_bug_at_whatever_call_leaves_nothing() {
    let mut met = 0;
    for n in 1.. {
        let host = FakeHost::default();
        host.state().panic_at = Some(n);
        let Some(error) = attach_with_a_bug(&host, &Silent) else { break };
        met += 1;
        assert_eq!((error.kind, &*error.leftovers), (ErrorKind::Internal, &[][..]), "call {n}: {error}");
        assert_eq!(host.state().model, Model::default(), "call {n}");
        assert!(host.state().stored.is_empty(), "call {n}: {:?}", host.state().stored.keys());
        nothing_wrong(&host);
    }
    assert!(met > 100, "{met}");
}

/// C1, D9: the clean-up after a bug fails as well.
#[test]
fn c1_d9_when_the_clean_up_after_a_bug_fails_what_is_left_is_named() {
    let mut named = 0;
    for (bug, more) in (30..230).step_by(9).flat_map(|n| [1, 3, 8, 40, 60].map(|more| (n, more))) {
        let host = FakeHost::default();
        host.state().panic_at = Some(bug);
        host.state().fail_at.insert(bug + more);
        let Some(error) = attach_with_a_bug(&host, &Silent) else { break };
        let clean = host.state().model == Model::default();
        assert_eq!(error.kind == ErrorKind::Leftovers, !error.leftovers.is_empty());
        assert!(clean || error.kind == ErrorKind::Leftovers, "calls {bug} and {more} more: {error}");
        named += usize::from(error.kind == ErrorKind::Leftovers);
        host.state().fail_at.clear();
        detach(&host, &[1, 2]).unwrap_or_else(|error| panic!("after {bug} and {more} more: {error}"));
        assert_eq!(host.state().model, Model::default(), "after {bug} and {more} more: {error}");
        nothing_wrong(&host);
    }
    assert!(named > 0);
}

/// C16: what was attached before a connect that a bug ends stays attached.
#[test]
fn c16_a_bug_while_connecting_what_is_attached_leaves_it_attached() {
    let attached = || {
        let host = FakeHost::default();
        attach(&host, &[1, 2]).unwrap();
        // It was attached an hour ago.
        for (_, bytes) in host.state().stored.iter_mut().filter(|(name, _)| name.starts_with("attachments/"))
        {
            let mut journal: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            journal["begun"] = (journal["begun"].as_u64().unwrap() - 3600).into();
            *bytes = serde_json::to_vec_pretty(&journal).unwrap();
        }
        host
    };
    let as_it_is = |host: &FakeHost| {
        let state = host.state();
        (state.model.clone(), state.stored.clone())
    };
    let before = as_it_is(&attached());
    let mut met = 0;
    for n in 1.. {
        let host = attached();
        let calls = host.state().calls;
        host.state().panic_at = Some(calls + n);
        let Some(error) = attach_with_a_bug(&host, &Silent) else { break };
        met += 1;
        assert_eq!((error.kind, &*error.leftovers), (ErrorKind::Internal, &[][..]), "call {n}: {error}");
        assert!(error.causes.iter().any(|cause| cause.ends_with("was attached before, and stays so")));
        assert_eq!(as_it_is(&host), before, "call {n}");
    }
    assert!(met > 20, "{met}");
}

/// A bug when the map is ready: the journal says attached already, and the caller was told nothing.
struct BugAtTheEnd;

impl Observer for BugAtTheEnd {
    fn event(&self, _at: Duration, event: &Event) {
        if matches!(event, Event::MapReady { .. }) {
            resume_unwind(Box::new("a bug"));
        }
    }
}

/// C1, D9: whether somebody else was given it meanwhile is not known then, so it stays, and is named.
#[test]
fn c1_d9_what_was_attached_when_a_bug_came_is_named() {
    let host = FakeHost::default();
    let error = attach_with_a_bug(&host, &BugAtTheEnd).unwrap();
    let id = bowline::journal::id_of(&connection(&[1, 2]).paths);
    assert_eq!(error.kind, ErrorKind::Leftovers);
    assert_eq!(error.leftovers, [format!("attachment {id} (multipath map mpatha)")]);
    assert_eq!(detach(&host, &[1, 2]).unwrap().outcome, Outcome::Clean);
    assert_eq!(host.state().model, Model::default());
}
