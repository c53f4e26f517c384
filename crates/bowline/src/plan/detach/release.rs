//! What goes once the disks are gone: multipath's memory of the volume, sessions, node records, claims.

use std::time::Duration;

use bowline_host::Wwid;
use bowline_host::iscsi::Endpoint;

use super::{Detach, TRIES, going};
use crate::plan::ours::Ours;
use crate::plan::{Draft, Step, View};
use crate::sabotage::{met, sabotaged};

/// Tries to release an endpoint: a login that outlived its process must end first (8 tries take 25 s).
const RELEASE_TRIES: u32 = 8;

/// While a release is under way, what a scan brings in is looked for this often. Most releases are over sooner.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// multipathd's memory and the wwids file keep nothing of the volume (C9).
pub(super) fn forget(goal: &Detach, view: &View<'_>, draft: &mut Draft) {
    if sabotaged!(KeepWwid) {
        return;
    }
    for wwid in entries_beside(goal, view) {
        draft.want(view, Step::ForgetWwid(wwid.clone()), TRIES, Duration::from_millis(200));
    }
    let Some(wwid) = &goal.wwid else { return };
    let paths = Step::ForgetPaths(wwid.clone());
    let had_devices =
        view.ledger.entries().iter().any(|entry| matches!(entry.step, Step::DeleteDevice { .. }));
    // What it must have forgotten is asked for when the last disk is gone: that goes later than its SCSI device.
    if had_devices && going(goal, view).next().is_none() && !view.ledger.succeeded(&paths) {
        draft.want(view, paths, TRIES, Duration::from_millis(200));
    }
    if view.topology.wwid_on_file && !goal.keep_wwid {
        draft.want(view, Step::ForgetWwid(wwid.clone()), TRIES, Duration::from_millis(200));
    }
}

/// Entries of the wwids file that came with identities beside the volume's own. Where one has a map that stays, so does its entry.
pub(super) fn entries_beside<'a>(goal: &'a Detach, view: &View<'_>) -> impl Iterator<Item = &'a Wwid> {
    let on_file = |wwid: &Wwid| {
        view.topology.beside.get(wwid).is_some_and(|found| found.on_file && found.map.is_none())
    };
    goal.beside.iter().filter(move |(wwid, kept)| !**kept && on_file(wwid)).map(|(wwid, _)| wwid)
}

/// An endpoint is released when its device is gone and nothing of ours runs there (D14). A session without a
/// claim goes too if we have just taken its device away and nobody else is on it (D4).
pub(super) fn release(goal: &Detach, ours: &Ours<'_>, view: &View<'_>, draft: &mut Draft) {
    for path in &goal.paths {
        let endpoint = &path.endpoint;
        let busy = view.ledger.entries().iter().any(|entry| {
            entry.ended.is_none()
                && match &entry.step {
                    Step::PrepareRecord(e) | Step::Login(e) => e == endpoint,
                    Step::Scan { endpoint: e, .. } => e == endpoint && !cut_off(endpoint, view),
                    _ => false,
                }
        });
        if busy {
            met!(Busy);
            draft.wait(format!("what is under way at {endpoint} to end"), None);
            continue;
        }
        let scanning = view.topology.session(endpoint).is_some_and(|session| session.scanning);
        if scanning && !cut_off(endpoint, view) {
            met!(ScanLingers);
            let wake = Some(view.now + Duration::from_millis(100));
            draft.wait(format!("a scan at {endpoint} to end whose process is gone"), wake);
            continue;
        }
        let below = view.topology.devices_of(std::slice::from_ref(path));
        if below
            .into_iter()
            .any(|device| ours.devices.iter().any(|own| own.device.hctl == device.device.hctl))
        {
            continue;
        }
        let step = Step::Release(endpoint.clone());
        let mine = view.claims_it(endpoint);
        let served_us = || {
            view.topology.session(endpoint).is_some_and(|session| {
                session.devices.is_empty()
                    && session.others == 0
                    && view.ledger.deleted_on(session.session.scsi_host)
            })
        };
        if !mine && !view.claims.contains_key(endpoint) && served_us() {
            met!(Unclaimed);
        }
        let owed =
            mine || (!view.claims.contains_key(endpoint) && served_us() && !view.ledger.succeeded(&step));
        if owed && draft.want(view, step, RELEASE_TRIES, Duration::from_millis(500)) {
            // A session that was lost may come back before it is logged out of, and a scan below it come to its end: of what that
            // brings in a map would stay, and only while its disk is there does it tell whose it is.
            draft.look_again(view.now + SEEN_WITHIN);
        }
    }
}

/// Whether a scan below the endpoint's session ends by the logout. Where the session has lost its connection it would wait for
/// as long as that is to wait for a new one (`recovery_tmo`, 120 s by default), so nothing is gained by waiting for it.
/// But if the session stays, for others, what the scan brings in later would be nobody's.
fn cut_off(endpoint: &Endpoint, view: &View<'_>) -> bool {
    let Some(session) = view.topology.session(endpoint) else { return false };
    let goes = view.claims.get(endpoint).is_some_and(|claim| {
        claim.made_session && claim.users.iter().all(|user| user == view.id) && session.others == 0
    });
    let lost = !session.usable();
    if lost && goes {
        met!(LostSession);
    }
    lost && goes
}
