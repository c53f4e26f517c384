//! udev's links to the devices of a volume that goes. Nothing is found through them (D12). But udev may forget them (findings: "udev ends
//! a worker after three minutes, and its links stay"), and a link that stays leads to whatever disk gets the name next, which may be
//! another tenant's: so what stays is named (D9, D14).

use std::collections::BTreeSet;
use std::time::Duration;

use bowline_host::names::BlockName;
use bowline_host::{Host, HostError, udev};

use crate::plan::detach::Detach;
use crate::topology::Topology;

/// A detach that took so long may have waited for a worker that udev ended: it does so after 180 s (systemd 252 `src/udev/udevd.c`,
/// `event_timeout`), and may have begun a while before the detach did. Where it is quicker, udev's workers were not waited for.
pub(crate) const FORGETS_AFTER: Duration = Duration::from_secs(120);
/// So long udev gets to take away the links of a device that is gone, on a host that is slow enough for this to matter.
pub(crate) const LAST_EVENTS: Duration = Duration::from_secs(15);

/// Nothing is on its way to udev any more when it has had nothing to deal with for so long.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// Links that udev had made to devices of the volume, and the kernel's name of the device of each: several have the same, and udev
/// leads it to one that is left.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeSet<(String, BlockName)>);

impl Links {
    /// Remembers those of the volume's disks and its map: once udev has forgotten a device, nothing tells them.
    pub(crate) fn note(&mut self, goal: &Detach, topology: &Topology) {
        let own = topology.devices_of(&goal.paths);
        let own = own.filter(|view| !topology.is_strangers(view, goal.wwid.as_ref()));
        let disks = own.filter_map(|view| Some((view.block()?.name.clone(), view.udev.as_ref()?)));
        let map = topology.map.iter().filter_map(|view| Some((view.map.block_name(), view.udev.as_ref()?)));
        for (name, record) in disks.chain(map) {
            self.0.extend(record.links.iter().map(|link| (link.clone(), name.clone())));
        }
    }

    /// Those that udev has forgotten, in words.
    ///
    /// # Errors
    /// What has got a device's name cannot be looked at.
    pub(crate) fn left(&self, host: &dyn Host) -> Result<Vec<String>, HostError> {
        let mut left = Vec::new();
        for (link, name) in &self.0 {
            if udev::is_forgotten(host, link, name)? {
                left.push(format!("link {link}, which leads to {name}"));
            }
        }
        Ok(left)
    }
}
