//! What is ours to take away: "removes everything that this connect created and nothing else" (C1).
//!
//! A disconnect is told to take the volume away, and does, whoever attached it (D3). The clean-up of a connect was
//! not: what was there before it, held or not, is somebody's. What it brought in is told by its ledger; after a
//! crash there is none, and then a device below a session that bowline made was scanned for by bowline, since such
//! a session does not scan by itself (C15), and below a session that others made the journal tells (B4).

use bowline_host::dm::Map;
use bowline_host::names::{BlockName, DevNumber};

use super::detach::Detach;
use super::path::new_session;
use super::{Step, View};
use crate::policy::OnDirty;
use crate::sabotage::{met, sabotaged};
use crate::topology::{DeviceView, MapView};

/// What a detach may take away.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    /// Devices.
    pub(super) devices: Vec<&'a DeviceView>,
    /// The map.
    pub(super) map: Option<&'a MapView>,
    /// Maps of other volumes that this attachment has brought in, since the LUN was reused meanwhile.
    pub(super) beside: Vec<&'a Map>,
    /// Nothing of the volume is somebody else's.
    pub(super) whole: bool,
}

impl<'a> Ours<'a> {
    pub(super) fn of(goal: &Detach, view: &View<'a>) -> Self {
        let paths = &goal.paths;
        let of_volume = view.topology.sessions.iter().flat_map(|session| {
            let wanted = paths.iter().filter(move |path| path.endpoint == session.session.endpoint);
            wanted.filter_map(|path| session.device(path.lun))
        });
        let map = view.topology.map.as_ref();
        let beside = view.topology.beside.values().filter_map(|found| found.map.as_ref());
        let beside = beside.filter(|map| is_ours_beside(goal, map, view)).collect();
        if goal.on_dirty != OnDirty::NothingWritten || sabotaged!(TakeForeign) {
            let own = |device: &&DeviceView| !view.topology.is_strangers(device, goal.wwid.as_ref());
            return Self { devices: of_volume.filter(own).collect(), map, beside, whole: true };
        }
        let (devices, before): (Vec<_>, Vec<_>) =
            of_volume.partition(|device| brought_in(goal, device, view));
        // A single path that did not work is cleaned up while another is tried (C14): what hangs below that one stays, and its map.
        let elsewhere: Vec<_> = view.topology.devices_elsewhere(paths).collect();
        let had_before = |map: &MapView| {
            // While a map comes into being it has no table yet, so that whose disks it will have does not show.
            let may_get = |device: &DeviceView| !map.map.live && !device.tells_another(Some(&map.map.wwid));
            let in_map = |device: &&DeviceView| {
                device.block().is_some_and(|block| map.has(block.number)) || may_get(device)
            };
            !map.strangers.is_empty() || before.iter().chain(&elsewhere).any(in_map)
        };
        let own_map = map.filter(|map| !had_before(map));
        // A stale device of another identity is no part of the volume.
        let another = |device: &&DeviceView| device.tells_another(goal.wwid.as_ref());
        let whole = before.iter().chain(&elsewhere).all(another) && own_map.is_some() == map.is_some();
        Self { devices, map: own_map, beside, whole }
    }

    /// Its devices, and those that go once the map beside that holds them is gone.
    pub(super) fn with_those_below_beside<'v>(
        &'v self,
        goal: &'v Detach,
        view: &'v View<'_>,
    ) -> impl Iterator<Item = &'v DeviceView> {
        let held = |device: &DeviceView| {
            device.block().is_some_and(|block| self.beside.iter().any(|map| map.has(block.number)))
        };
        let is_own =
            |device: &DeviceView| self.devices.iter().any(|own| own.device.hctl == device.device.hctl);
        let below =
            view.topology.devices_of(&goal.paths).filter(move |device| held(device) && !is_own(device));
        self.devices.iter().copied().chain(below)
    }

    /// The disks among its devices.
    pub(super) fn disks(&self) -> impl Iterator<Item = (BlockName, DevNumber)> {
        let blocks = self.devices.iter().filter_map(|device| device.block());
        blocks.map(|block| (block.name.clone(), block.number))
    }
}

/// Whether another identity's map goes with the attachment: this attachment has brought in every path of it that still exists,
/// and nobody has it open (then its last close has written back what it held). What was never handed out has no users.
fn is_ours_beside(goal: &Detach, map: &Map, view: &View<'_>) -> bool {
    let devices = || view.topology.sessions.iter().flat_map(|session| &session.devices);
    let found = |number: DevNumber| {
        devices().find(|device| device.block().is_some_and(|block| block.number == number))
    };
    let unused = map.open_count == 0 || goal.on_dirty == OnDirty::NothingWritten;
    let own = |number| found(number).is_some_and(|device| brought_in(goal, device, view));
    unused && map.paths.iter().all(|path| own(path.number))
}

/// The devices that this attachment has brought in and that tell another identity than the volume's.
pub(super) fn beside<'a>(goal: &Detach, view: &View<'a>) -> impl Iterator<Item = &'a DeviceView> {
    let devices = view.topology.sessions.iter().flat_map(|session| &session.devices);
    let another = devices.filter(|device| device.tells_another(goal.wwid.as_ref()));
    another.filter(|device| brought_in(goal, device, view))
}

/// Whether a connect of ours found the device.
fn brought_in(goal: &Detach, device: &DeviceView, view: &View<'_>) -> bool {
    let hctl = device.device.hctl;
    let begun = |is_it: &dyn Fn(&Step) -> bool| view.ledger.entries().iter().any(|entry| is_it(&entry.step));
    if begun(
        &|step| matches!(step, Step::Scan { scsi_host, lun, .. } if *scsi_host == hctl.host && *lun == hctl.lun),
    ) {
        return true;
    }
    let sessions = &view.topology.sessions;
    let Some(session) = sessions.iter().find(|session| session.session.scsi_host == hctl.host) else {
        return false;
    };
    let endpoint = &session.session.endpoint;
    // Below a session of this process's making nothing was there before (C15).
    met!(BroughtIn);
    if goal.scanned.contains(endpoint) || new_session(endpoint, view.ledger) {
        return true;
    }
    // This process has worked there and did not scan. (A release is no such work: it waits for what a process that died has
    // begun, and that may bring the LUN in.)
    let worked = |step: &Step| match step {
        Step::PrepareRecord(of) | Step::Login(of) => of == endpoint,
        _ => false,
    };
    view.claims.get(endpoint).is_some_and(|claim| {
        let unscanned = !begun(&worked) && claim.made_session && claim.users.contains(view.id);
        unscanned || claim.brought_all_in(view.id)
    })
}
