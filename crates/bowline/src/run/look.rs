//! Looking with a goal in mind: how much is observed for it, and what of that is written down at once, since a later clean-up
//! could not see it any more (B4): the volume's identity, and others that came in beside it.

use std::collections::{BTreeMap, BTreeSet};

use bowline_host::Wwid;
use bowline_host::dm::Map;
use bowline_host::iscsi::Endpoint;
use bowline_host::layers;
use bowline_host::multipath::wwid_on_file;
use bowline_host::openers::Opener;

use super::{Goal, Runner, Seen};
use crate::claims::{self, Claim};
use crate::connection::WantedPath;
use crate::error::Error;
use crate::journal;
use crate::plan::attach::Attach;
use crate::plan::detach::Detach;
use crate::plan::{Step, detach, path};
use crate::policy::OnDirty;
use crate::topology::{Openers, Scope, Topology, observe};

impl Runner<'_> {
    /// Observes, and writes down what a later clean-up has to know.
    pub(crate) fn observe_for(&mut self, goal: &mut Goal) -> Result<Seen, Error> {
        let claims = claims::load_of(self.host, goal.paths().iter().map(|path| &path.endpoint))?;
        let mut scope = self.scope(goal, &claims);
        let mut topology = observe(self.host, &scope)?;
        if let Goal::Attach(goal) = &*goal {
            if path::any_stale(goal, &topology, &self.ledger) {
                scope.openers = Openers::Everywhere;
                topology = observe(self.host, &scope)?;
            }
            self.note_shown(goal, &scope, &topology)?;
        }
        // Single path lets go of a portal before it tries the next (C14).
        if !matches!(goal, Goal::Attach(goal) if goal.multipath) {
            self.find_scans(&mut topology)?;
        }
        let mut seen = Seen { topology, claims };
        if let Goal::Detach(back) = &mut *goal {
            if !self.identify(back, &seen)? {
                // It was looked for by the identity of a stale device: look again.
                return self.observe_for(goal);
            }
            self.note_detaching(back, &mut seen)?;
            if seen.topology.closing {
                back.closing = Some(self.host.now());
            }
        }
        Ok(seen)
    }

    fn scope(&self, goal: &Goal, claims: &BTreeMap<Endpoint, Claim>) -> Scope {
        let known = || self.journal.as_ref().and_then(|journal| journal.wwid.clone());
        let entries = self.ledger.entries();
        let flushing =
            || entries.iter().any(|entry| entry.ended.is_none() && matches!(entry.step, Step::Sync { .. }));
        let removing = |goal: &Detach| entries.iter().any(|entry| goal.removes_own_map(&entry.step));
        match goal {
            Goal::Attach(goal) => Scope {
                paths: goal.paths.clone(),
                unproven: path::unproven(goal, &self.ledger, claims, self.id),
                wwid: goal.expected.clone().or_else(known),
                beside: BTreeSet::new(),
                openers: Openers::Unasked,
                bare: false,
            },
            Goal::Detach(goal) => Scope {
                paths: goal.paths.clone(),
                unproven: BTreeSet::new(),
                wwid: goal.wwid.clone().or_else(known),
                beside: goal.beside.keys().cloned().collect(),
                openers: if flushing() { Openers::Unasked } else { users_of_interest(goal, removing(goal)) },
                bare: goal.bare,
            },
        }
    }

    /// The identity, as soon as it shows, and whether the wwids file had it before us.
    fn note_shown(&mut self, goal: &Attach, scope: &Scope, topology: &Topology) -> Result<(), Error> {
        let is_proven = |path: &&WantedPath| !scope.unproven.contains(&path.endpoint);
        let proven: Vec<WantedPath> = scope.paths.iter().filter(is_proven).cloned().collect();
        let shown = topology.devices_of(&proven).find_map(|view| view.device.wwid.clone());
        let fresh = topology.devices_of(&scope.paths).all(|view| !view.udev_done()) && topology.map.is_none();
        // What was put on the wwids file has to be taken off again, also where another path tells another identity.
        let claimed = self.ledger.entries().iter().any(|entry| matches!(entry.step, Step::ClaimWwid(_)));
        if let (Some(journal), Some(wwid)) = (&mut self.journal, &shown)
            && journal.wwid.as_ref() != Some(wwid)
            && !claimed
            && (!goal.live || journal.wwid.is_none())
        {
            // Of another path: the LUN was reused between the two.
            let before = journal.wwid.replace(wwid.clone());
            journal.beside.extend(before.map(|before| (before, journal.keep_wwid)));
            // Only before udev is done with the first disk can an entry not be of this attach's making.
            journal.keep_wwid = match journal.beside.remove(wwid) {
                Some(kept) => kept,
                None => fresh && wwid_on_file(self.host, wwid)?,
            };
            journal::store(self.host, journal)?;
        }
        let ours = goal.paths.iter().filter(|path| path::is_new(path, &self.ledger));
        let devices = ours.filter_map(|path| topology.device(path));
        let all = devices.filter_map(|view| Some((view.device.wwid.clone()?, view.udev_done())));
        self.note_beside(all.collect())
    }

    /// Where the LUN is reused between two scans, one brings in another identity than the volume's. It goes with the attachment, also
    /// where this process does not live to see to it. Each with whether udev is done with its disk: only before can
    /// an entry of the wwids file not be of this attachment's making.
    fn note_beside(&mut self, shown: Vec<(Wwid, bool)>) -> Result<(), Error> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let Some(own) = journal.wwid.clone() else { return Ok(()) };
        let mut news = false;
        for (wwid, done) in shown {
            if wwid != own && !journal.beside.contains_key(&wwid) {
                let kept = !done && wwid_on_file(self.host, &wwid)?;
                journal.beside.insert(wwid, kept);
                news = true;
            }
        }
        if news { journal::store(self.host, journal) } else { Ok(()) }
    }

    fn find_scans(&self, topology: &mut Topology) -> Result<(), Error> {
        // A device that came and went proves that a scan has ended, where there was one.
        let one = !self.journal.as_ref().is_some_and(|journal| journal.scans_again);
        topology.find_scans(self.host, |session| {
            (one && self.ledger.deleted_on(session.scsi_host)) || self.ledger.scans_ended(session.scsi_host)
        })
    }

    /// What a detach takes the volume for, once that shows; false where it was observed as another. A connect that was killed before it
    /// saw a device has not written down whose it is: who takes the device away does, since nobody can ask it afterwards.
    fn identify(&mut self, goal: &mut Detach, seen: &Seen) -> Result<bool, Error> {
        let ours = detach::shown(goal, &self.view(seen));
        if let (Some(journal), Some(wwid)) = (&mut self.journal, &ours)
            && journal.wwid.is_none()
        {
            journal.wwid = Some(wwid.clone());
            journal::store(self.host, journal)?;
        }
        let known = goal.wwid.is_some();
        goal.wwid = goal.wwid.take().or(self.identity.take()).or(ours);
        self.identity.clone_from(&goal.wwid);
        let is_it = |map: &Map| Some(&map.wwid) == goal.wwid.as_ref();
        Ok(known || !seen.topology.foreign_maps.iter().any(is_it))
    }

    /// A detach with what its pursuit has found out: whose volume it is, and what came in beside it. Only with that can be
    /// told what is left.
    pub(crate) fn found_out(&self, mut goal: Detach) -> Detach {
        goal.wwid = goal.wwid.or_else(|| self.identity.clone());
        goal.beside.extend(self.journal.iter().flat_map(|journal| journal.beside.clone()));
        goal
    }

    /// What is there now and will lead nowhere once the disks are gone: identities beside the volume's, users, layers.
    fn note_detaching(&mut self, goal: &mut Detach, seen: &mut Seen) -> Result<(), Error> {
        let view = self.view(seen);
        let beside = detach::shown_beside(goal, &view).map(|(wwid, done)| (wwid.clone(), done));
        self.note_beside(beside.collect())?;
        goal.beside.extend(self.journal.iter().flat_map(|journal| journal.beside.clone()));
        let lasted = self.lasted();
        let topology = &mut seen.topology;
        self.links.note(self.host, lasted, goal, topology);
        if goal.on_dirty == OnDirty::Discard {
            let uses = |opener: &&Opener| !opener.passes_by() && !matches!(opener, Opener::Holder(_));
            self.users.extend(topology.openers.iter().filter(uses).cloned());
        }
        for layer in std::mem::replace(&mut self.layers, topology.layers.iter().cloned().collect()) {
            if !topology.layers.iter().any(|seen| seen.name == layer.name)
                && layers::is_there(self.host, &layer)?
            {
                topology.layers.push(layer.clone());
                self.layers.insert(layer);
            }
        }
        Ok(())
    }
}

/// Whose users a detach asks for. What was never handed out has none; a flush that this detach has seen succeed was the last
/// word on the volume, and its map is on its way out. What an earlier detach has flushed may have got users since.
fn users_of_interest(goal: &Detach, removing: bool) -> Openers {
    match goal.on_dirty {
        OnDirty::NothingWritten => Openers::Unasked,
        _ if removing => Openers::OfMap,
        _ => Openers::Everywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D7: a detach that goes on where an earlier one stopped looks for users: somebody may have mounted a disk meanwhile.
    #[test]
    fn d7_only_the_removal_of_this_very_detach_needs_no_users() {
        let goal = |on_dirty| Detach { on_dirty, flushed: true, ..Detach::default() };
        assert_eq!(users_of_interest(&goal(OnDirty::Refuse), false), Openers::Everywhere);
        assert_eq!(users_of_interest(&goal(OnDirty::Refuse), true), Openers::OfMap);
        assert_eq!(users_of_interest(&goal(OnDirty::NothingWritten), false), Openers::Unasked);
    }
}
