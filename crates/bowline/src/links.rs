//! udev's links to the devices of a volume that goes. Nothing is found through them (D12). But udev may forget them (findings: "udev ends
//! a worker after three minutes, and its links stay"), and a link that stays leads to whatever disk gets the name next, which may be
//! another tenant's: so what stays is named (D9, D14).

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_host::names::BlockName;
use bowline_host::{Host, HostError, udev};

use crate::connection::WantedPath;
use crate::topology::Topology;

/// After a detach that took less nothing can have been forgotten: udev ends a worker that takes 180 s for an event (systemd 252
/// `src/udev/udevd.c`, `event_timeout`), and may have begun with it a while before the detach did.
pub(crate) const FORGETS_AFTER: Duration = Duration::from_secs(120);
/// So long udev gets to take away the links of a device that is gone, on a host that is slow enough for this to matter.
pub(crate) const LAST_EVENTS: Duration = Duration::from_secs(15);

/// Links that udev had made to devices of the volume, and the kernel's name of the device of each.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<String, BlockName>);

impl Links {
    /// Remembers those of the volume's disks and its map: once udev has forgotten a device, nothing tells them.
    pub(crate) fn note(&mut self, paths: &[WantedPath], topology: &Topology) {
        let disks =
            topology.devices_of(paths).filter_map(|view| Some((&view.block()?.name, view.udev.as_ref()?)));
        for (name, record) in disks {
            self.0.extend(record.links.iter().map(|link| (link.clone(), name.clone())));
        }
        if let Some(view) = &topology.map
            && let Some(record) = &view.udev
        {
            let name = view.map.block_name();
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
