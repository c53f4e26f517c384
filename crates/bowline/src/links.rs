//! udev's links to the devices of a volume that goes. Nothing is found through them (D12). But udev may forget them (findings: "udev ends
//! a worker after three minutes, and its links stay"), and a link that stays leads to whatever disk gets the name next, which may be
//! another tenant's: so what stays is named (D9, D14).

use std::collections::BTreeSet;
use std::time::Duration;

use bowline_host::names::BlockName;
use bowline_host::udev::{self, UdevRecord};
use bowline_host::{Host, HostError, Moment, scsi};

use crate::plan::detach::Detach;
use crate::topology::Topology;

/// A detach that took so long may have waited for a worker that udev ended: it does so after 180 s (systemd 252 `src/udev/udevd.c`,
/// `event_timeout`), and may have begun a while before the detach did. Where it is quicker, udev's workers were not waited for.
const FORGETS_AFTER: Duration = Duration::from_secs(120);
/// So long udev gets to take away the links of a device that is gone, on a host that is slow enough for this to matter.
const LAST_EVENTS: Duration = Duration::from_secs(15);
/// Nothing is on its way to udev any more when it has had nothing to deal with for so long.
const IDLE: Duration = Duration::from_secs(1);
/// From then on a detach looks for links to what lies upon the volume, too: it costs a look at each.
const SLOW: Duration = Duration::from_secs(60);
/// How often is looked whether udev has taken its links away.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Links that udev had made to devices of the volume, and the kernel's name of the device of each: several have the same, and udev
/// leads it to one that is left.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeSet<(String, BlockName)>);

impl Links {
    /// Remembers those of the volume's disks and its map, and in a detach that has lasted long, of partitions and all else upon
    /// them: once udev has forgotten a device, nothing tells them. One that cannot be looked at now is passed over.
    pub(crate) fn note(&mut self, host: &dyn Host, lasted: Duration, goal: &Detach, topology: &Topology) {
        let own = topology.devices_of(&goal.paths);
        let own = own.filter(|view| !topology.is_strangers(view, goal.wwid.as_ref()));
        let disks: Vec<_> = own.filter_map(|view| Some((view.block()?, view.udev.as_ref()))).collect();
        for (block, record) in &disks {
            self.note_record(&block.name, *record);
        }
        if let Some(view) = &topology.map {
            self.note_record(&view.map.block_name(), view.udev.as_ref());
        }
        if lasted >= SLOW {
            let partitions = disks.iter().flat_map(|(block, _)| &block.partitions);
            for name in partitions.chain(topology.layers.iter().map(|layer| &layer.name)) {
                let Ok(Some(block)) = scsi::block_device(host, name) else { continue };
                let record = udev::record_of(host, block.number).ok().flatten();
                self.note_record(name, record.as_ref());
            }
        }
    }

    fn note_record(&mut self, name: &BlockName, record: Option<&UdevRecord>) {
        self.0
            .extend(record.iter().flat_map(|record| &record.links).map(|link| (link.clone(), name.clone())));
    }

    /// Those that stay of a volume that is gone, in words, after a detach of that length. Until udev has dealt with all that has
    /// gone nobody can say; it gets until `end` at most.
    ///
    /// # Errors
    /// What has got a device's name cannot be looked at.
    pub(crate) async fn forgotten(
        &self,
        host: &dyn Host,
        lasted: Duration,
        end: Moment,
    ) -> Result<Vec<String>, HostError> {
        if lasted < FORGETS_AFTER {
            return Ok(Vec::new());
        }
        let until = end.min(host.now() + LAST_EVENTS);
        let mut idle = host.now();
        loop {
            let left = self.left(host)?;
            if udev::is_busy(host) {
                idle = host.now();
            }
            if left.is_empty() || host.now().since(idle) >= IDLE {
                return Ok(left);
            }
            if host.now() + LOOK_AGAIN >= until {
                return Ok(left
                    .iter()
                    .map(|link| format!("{link}, unless udev still takes it away"))
                    .collect());
            }
            host.sleep_until(host.now() + LOOK_AGAIN).await;
        }
    }

    /// Those that are there and lead to nothing of udev's.
    fn left(&self, host: &dyn Host) -> Result<Vec<String>, HostError> {
        let mut left = Vec::new();
        for (link, name) in &self.0 {
            if udev::is_forgotten(host, link, name)? {
                left.push(format!("link {link}, which leads to {name}"));
            }
        }
        Ok(left)
    }
}
