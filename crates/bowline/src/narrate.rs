//! Turns what the loop does and sees into events (B10): each thing is told once.

use std::collections::BTreeSet;

use bowline_host::Moment;
use bowline_host::iscsi::Endpoint;
use bowline_host::names::BlockName;

use crate::event::{Event, Observer};
use crate::ledger::Ending;
use crate::plan::path::{self, Progress};
use crate::plan::{Step, View};
use crate::run::Goal;

/// Tells the observer what is new.
pub(crate) struct Narrator<'a> {
    observer: &'a dyn Observer,
    /// When the verb began.
    pub(crate) began: Moment,
    disks: BTreeSet<BlockName>,
    appeared: BTreeSet<Endpoint>,
    joined: BTreeSet<Endpoint>,
    failed: BTreeSet<Endpoint>,
    /// Released, and not looked at since.
    released: BTreeSet<Endpoint>,
    map: Option<bowline_host::Wwid>,
}

impl<'a> Narrator<'a> {
    pub(crate) fn new(observer: &'a dyn Observer, began: Moment) -> Self {
        Self {
            observer,
            began,
            disks: BTreeSet::new(),
            appeared: BTreeSet::new(),
            joined: BTreeSet::new(),
            failed: BTreeSet::new(),
            released: BTreeSet::new(),
            map: None,
        }
    }

    pub(crate) fn tell(&self, now: Moment, event: Event) {
        self.observer.event(now.since(self.began), &event);
    }

    /// A step begins.
    pub(crate) fn begins(&self, now: Moment, step: &Step) {
        let event = match step.clone() {
            Step::PrepareRecord(endpoint) => Event::PathPreparing { endpoint },
            Step::Login(endpoint) => Event::PathLoggingIn { endpoint },
            Step::Scan { endpoint, lun, .. } => Event::PathScanning { endpoint, lun },
            Step::AddMap(wwid) => Event::MapRequested { wwid },
            Step::Sync { device, .. } => Event::Flushing { device },
            Step::RemoveMap { name, .. } => Event::MapRemoving { map: name },
            Step::DeleteDevice { block: Some(device), .. } => Event::DeviceDeleting { device },
            Step::Release(endpoint) => Event::PathLoggingOut { endpoint },
            _ => return,
        };
        self.tell(now, event);
    }

    /// A step ended. Failures that will be retried are told by the last one only (C10, D10), so not here.
    pub(crate) fn ended(&mut self, now: Moment, step: &Step, ending: &Ending) {
        let event = match (step.clone(), ending) {
            (Step::Login(endpoint), Ending::Ok) => Event::PathLoggedIn { endpoint },
            (Step::VerifyRead { device, .. }, Ending::Ok) => Event::DeviceRead { device },
            (Step::Sync { device, .. }, Ending::Ok) => Event::Flushed { device },
            (Step::Release(endpoint), Ending::Ok) => {
                self.released.insert(endpoint);
                return;
            }
            _ => return,
        };
        self.tell(now, event);
    }

    /// What the observation shows that was not told yet.
    pub(crate) fn compare(&mut self, goal: &Goal, view: &View<'_>) {
        for endpoint in std::mem::take(&mut self.released) {
            let stays =
                view.topology.session(&endpoint).is_some() || view.topology.record(&endpoint).is_some();
            let event = match stays {
                true => Event::PathReleased { endpoint },
                false => Event::PathGone { endpoint },
            };
            self.tell(view.now, event);
        }
        match goal {
            Goal::Attach(goal) => {
                for wanted in &goal.paths {
                    match path::progress(goal, wanted, view) {
                        Progress::Present(device) => self.present(wanted, device, view),
                        Progress::Failed(reason) if self.failed.insert(wanted.endpoint.clone()) => {
                            self.tell(
                                view.now,
                                Event::PathFailed { endpoint: wanted.endpoint.clone(), reason },
                            );
                        }
                        _ => {}
                    }
                }
            }
            Goal::Detach(goal) => {
                for device in view.topology.devices_of(&goal.paths) {
                    self.disks.extend(device.block().map(|block| block.name.clone()));
                }
                self.gone(goal, view);
            }
        }
        self.map = view.topology.map.as_ref().map(|map| map.map.wwid.clone());
    }

    fn present(&mut self, wanted: &crate::WantedPath, device: &crate::topology::DeviceView, view: &View<'_>) {
        let Some(block) = device.block() else { return };
        let endpoint = wanted.endpoint.clone();
        if self.appeared.insert(endpoint.clone()) {
            self.tell(
                view.now,
                Event::DeviceAppeared { endpoint: endpoint.clone(), device: block.name.clone() },
            );
        }
        let active = view.topology.map.as_ref().is_some_and(|map| map.is_active(block.number));
        if active && self.joined.insert(endpoint.clone()) {
            self.tell(view.now, Event::PathJoined { endpoint, device: block.name.clone() });
        }
    }

    fn gone(&mut self, goal: &crate::plan::detach::Detach, view: &View<'_>) {
        if let (Some(wwid), None) = (&self.map, &view.topology.map) {
            self.tell(view.now, Event::MapRemoved { wwid: wwid.clone() });
        }
        let there: BTreeSet<BlockName> =
            view.topology.devices_of(&goal.paths).filter_map(|d| d.block()).map(|b| b.name.clone()).collect();
        for device in self.disks.difference(&there) {
            self.tell(view.now, Event::DeviceGone { device: device.clone() });
        }
        self.disks = there;
    }
}
