//! Which events wake the loop. On a host that attaches many volumes at once most are of other volumes, below the very
//! sessions that this one is reached over: who looked at each of them would take the processors from udev, which all wait for.

use std::collections::BTreeSet;

use bowline_host::host::{Uevent, UeventNotice};
use bowline_host::names::BlockName;
use bowline_host::{Hctl, Lun, ScsiHost, Wwid};

use super::Goal;
use crate::journal::Attachment;
use crate::topology::Topology;

/// What an event must be about to wake the loop.
#[derive(Debug, Default)]
pub(super) struct Concern {
    /// Where disks of the volume are, or may come.
    disks: BTreeSet<(ScsiHost, Lun)>,
    /// The volume's map, once it is there.
    map: Option<BlockName>,
    /// The UUIDs of the maps that may be the volume's, or hold a disk at its LUN.
    uuids: BTreeSet<String>,
}

impl Concern {
    /// By what is wanted, what is written down, and what was last seen.
    pub(super) fn of(goal: &Goal, journal: Option<&Attachment>, topology: &Topology) -> Self {
        let paths = goal.paths();
        let disks = topology.sessions.iter().flat_map(|view| {
            let wanted = paths.iter().filter(|path| path.endpoint == view.session.endpoint);
            wanted.map(|path| (view.session.scsi_host, path.lun))
        });
        let wanted: Option<&Wwid> = match goal {
            Goal::Attach(goal) => goal.expected.as_ref(),
            Goal::Detach(goal) => goal.wwid.as_ref(),
        };
        let written =
            journal.into_iter().flat_map(|journal| journal.wwid.iter().chain(journal.beside.keys()));
        let shown = topology.devices_of(paths).filter_map(|view| view.device.wwid.as_ref());
        let foreign = topology.foreign_maps.iter().map(|map| &map.wwid);
        let beside = topology.beside.keys();
        let identities = wanted.into_iter().chain(written).chain(shown).chain(foreign).chain(beside);
        Self {
            disks: disks.collect(),
            map: topology.map.as_ref().map(|view| view.map.block_name()),
            uuids: identities.map(Wwid::map_uuid).collect(),
        }
    }

    /// Whether it is about the volume. A session that comes up is told by the login's own end.
    pub(super) fn has(&self, notice: &UeventNotice) -> bool {
        let event = match notice {
            UeventNotice::Lost => return true,
            UeventNotice::Event(event) => event,
        };
        match event.devpath.strip_prefix("/devices/virtual/block/") {
            Some(name) => name.starts_with("dm-") && self.has_map(name, event),
            None => self.has_disk(&event.devpath),
        }
    }

    /// `/devices/…/host2/session1/target2:0:0/2:0:0:1/block/sdb`
    fn has_disk(&self, devpath: &str) -> bool {
        Hctl::in_path(devpath).is_some_and(|hctl| self.disks.contains(&(hctl.host, hctl.lun)))
    }

    /// Before the volume has a map, each may become its; but one that says that it is another volume's.
    fn has_map(&self, name: &str, event: &Uevent) -> bool {
        let uuid = event.dm_uuid.as_deref();
        let told = uuid.is_some_and(|uuid| self.uuids.contains(uuid));
        let anothers = uuid.is_some_and(|uuid| uuid.starts_with("mpath-")) && !self.uuids.is_empty();
        match &self.map {
            Some(map) => told || map.as_str() == name,
            None => told || !anothers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern() -> Concern {
        Concern { disks: [(ScsiHost(2), Lun(1))].into(), map: None, uuids: ["mpath-3600".to_owned()].into() }
    }

    fn event(devpath: &str, dm_uuid: Option<&str>) -> UeventNotice {
        UeventNotice::Event(Uevent { devpath: devpath.into(), dm_uuid: dm_uuid.map(str::to_owned) })
    }

    #[test]
    fn a_disk_counts_by_its_host_and_lun() {
        let concern = concern();
        let disk = |address: &str| {
            let devpath = format!("/devices/platform/host2/session1/target2:0:0/{address}/block/sdb");
            concern.has(&event(&devpath, None))
        };
        assert!(disk("2:0:0:1"));
        assert!(!disk("2:0:0:2") && !disk("3:0:0:1"));
        assert!(!concern.has(&event("/devices/pci0000:00/0000:00:04.0/virtio1/block/vda", None)));
        assert!(concern.has(&UeventNotice::Lost));
    }

    #[test]
    fn of_maps_those_of_other_volumes_do_not_count() {
        let mut concern = concern();
        let map = |concern: &Concern, name: &str, uuid| {
            concern.has(&event(&format!("/devices/virtual/block/{name}"), uuid))
        };
        assert!(map(&concern, "dm-3", None));
        assert!(map(&concern, "dm-3", Some("mpath-3600")));
        assert!(map(&concern, "dm-3", Some("LVM-x")));
        assert!(!map(&concern, "dm-3", Some("mpath-3601")));
        assert!(!map(&concern, "loop0", None));
        concern.uuids.clear();
        assert!(map(&concern, "dm-3", Some("mpath-3601")));
        concern = Concern { map: Some("dm-3".parse().unwrap()), ..super::tests::concern() };
        assert!(map(&concern, "dm-3", None));
        assert!(map(&concern, "dm-4", Some("mpath-3600")));
        assert!(!map(&concern, "dm-4", None));
    }
}
