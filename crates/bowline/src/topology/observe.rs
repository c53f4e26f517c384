//! Looking: sessions and what hangs below them, then the map by its holders and by its identity, then what lies upon the
//! volume and who has it open.

use std::collections::BTreeSet;

use bowline_host::dm::{self, Map};
use bowline_host::iscsi::{self, Session};
use bowline_host::layers::{self, Layer};
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::openers::{self, Opener};
use bowline_host::scsi::{self, BlockDevice, ScsiDevice};
use bowline_host::{Hctl, Host, Wwid, multipath, udev};

use super::{Beside, DeviceView, MapView, Openers, Scope, SessionView, Topology};
use crate::error::Error;

/// Looks.
///
/// # Errors
/// When sysfs, the node database or device-mapper cannot be read: this host cannot do it.
pub fn observe(host: &dyn Host, scope: &Scope) -> Result<Topology, Error> {
    let targets: BTreeSet<_> = scope.paths.iter().map(|path| &path.endpoint.iqn).collect();
    let mut topology = Topology::default();
    for iqn in &targets {
        topology.records.extend(iscsi::records_of(host, iqn)?);
    }
    let addresses = scsi::addresses(host)?;
    let (sessions, torn) = iscsi::all_sessions_of(host, |iqn| targets.contains(iqn))?;
    topology.torn = torn;
    for session in sessions {
        topology.sessions.push(view_session(host, session, scope, &addresses)?);
    }
    find_maps(host, scope, &mut topology)?;
    for wwid in &scope.beside {
        let found = find_beside(host, wwid, &topology)?;
        topology.beside.insert(wwid.clone(), found);
    }
    topology.layers = find_layers(host, scope, &topology)?;
    if let Some(wwid) = scope.wwid.as_ref().or(topology.map.as_ref().map(|view| &view.map.wwid)) {
        topology.wwid_on_file = multipath::wwid_on_file(host, wwid)?;
    }
    if scope.openers != Openers::Unasked {
        topology.openers = find_openers(host, scope, &topology)?;
        (topology.closing, topology.close_hangs) = closing(host, &topology)?;
    }
    Ok(topology)
}

fn view_session(
    host: &dyn Host,
    session: Session,
    scope: &Scope,
    addresses: &[Hctl],
) -> Result<SessionView, Error> {
    let wanted = |lun| scope.paths.iter().any(|p| p.lun == lun && p.endpoint == session.endpoint);
    let below = addresses.iter().filter(|hctl| hctl.host == session.scsi_host);
    let (ours, others): (Vec<&Hctl>, Vec<&Hctl>) = below.partition(|hctl| wanted(hctl.lun));
    let others = others.len();
    let mut devices = Vec::new();
    for hctl in ours {
        let Some(mut device) = scsi::device(host, *hctl)? else { continue };
        let udev = match &device.block {
            Some(block) => udev::record_of(host, block.number)?,
            None => None,
        };
        // A disk without the pages that the kernel keeps: udev may know it all the same (C6), and multipath goes by
        // what udev knows.
        let told = || udev.as_ref()?.properties.get("ID_SERIAL")?.parse().ok();
        device.wwid = device.wwid.or_else(told);
        devices.push(DeviceView { device, udev });
    }
    let mut going = Vec::new();
    for path in scope.paths.iter().filter(|path| path.endpoint == session.endpoint) {
        let hctl = Hctl { host: session.scsi_host, channel: 0, target: 0, lun: path.lun };
        if !devices.iter().any(|view: &DeviceView| view.device.hctl == hctl)
            && scsi::is_going(host, session.sid, hctl)?
        {
            going.push(hctl);
        }
    }
    Ok(SessionView { session, devices, going, others, scanning: false })
}

/// The volume's map: by the holders of its devices, and by its identity when that is known.
fn find_maps(host: &dyn Host, scope: &Scope, topology: &mut Topology) -> Result<(), Error> {
    let devices: Vec<&ScsiDevice> = topology.devices_of(&scope.paths).map(|view| &view.device).collect();
    let of_unproven = |session: &&SessionView| scope.unproven.contains(&session.session.endpoint);
    let unproven: BTreeSet<_> =
        topology.sessions.iter().filter(of_unproven).map(|session| session.session.scsi_host).collect();
    let proven = || devices.iter().filter(|device| !unproven.contains(&device.hctl.host));
    let holders: BTreeSet<&BlockName> =
        proven().filter_map(|device| device.block.as_ref()).flat_map(|block| &block.holders).collect();
    let identity = scope.wwid.clone().or_else(|| proven().find_map(|device| device.wwid.clone()));
    let mut foreign = Vec::new();
    let mut own = None;
    for holder in holders {
        match dm::map_at(host, holder)? {
            Some(map) if identity.as_ref().is_none_or(|wwid| *wwid == map.wwid) => own = Some(map),
            Some(map) => foreign.push(map),
            None => {}
        }
    }
    if let (None, Some(wwid)) = (&own, &identity) {
        own = dm::map_of(host, wwid)?;
    }
    let own_disks: Vec<DevNumber> =
        devices.iter().filter_map(|device| device.block.as_ref()).map(|block| block.number).collect();
    topology.foreign_maps = foreign;
    topology.map = match own {
        None => None,
        Some(map) => {
            let block = scsi::block_device(host, &map.block_name())?;
            let udev = udev::record_of(host, map.number)?;
            let node = leads_to(host, &map);
            let strangers = map.paths.iter().map(|path| path.number).filter(|n| !own_disks.contains(n));
            let strangers = strangers.filter(|number| stays(host, topology, *number));
            let strangers = strangers.filter(|number| !is_wanted(host, scope, topology, *number)).collect();
            Some(MapView { map, block, udev, node, strangers })
        }
    };
    Ok(())
}

/// Whether a map's path is a disk that is there and that is not one of the volume's on its way out: of those the SCSI device
/// has gone first, and the disk's driver still takes its leave (Linux 6.1 `drivers/scsi/scsi_sysfs.c`, `__scsi_remove_device`).
fn stays(host: &dyn Host, topology: &Topology, path: DevNumber) -> bool {
    let place = format!("/sys/dev/block/{path}");
    let exists = host.read(&format!("{place}/dev")).is_ok();
    exists && !host.read_link(&place).is_ok_and(|place| topology.goes(&place))
}

/// Whether a map's path is at one of the volume's places: it may have come, and joined, since the disks were looked at.
fn is_wanted(host: &dyn Host, scope: &Scope, topology: &Topology, path: DevNumber) -> bool {
    let place = host.read_link(&format!("/sys/dev/block/{path}"));
    let Some(hctl) = place.ok().and_then(|place| Hctl::in_path(&place)) else { return false };
    let of_host = |view: &&SessionView| view.session.scsi_host == hctl.host;
    let endpoints = topology.sessions.iter().filter(of_host).map(|view| &view.session.endpoint);
    endpoints
        .into_iter()
        .any(|endpoint| scope.paths.iter().any(|p| p.lun == hctl.lun && p.endpoint == *endpoint))
}

fn find_beside(host: &dyn Host, wwid: &Wwid, topology: &Topology) -> Result<Beside, Error> {
    let mut map = dm::map_of(host, wwid)?;
    if let Some(map) = &mut map {
        map.paths.retain(|path| stays(host, topology, path.number));
    }
    Ok(Beside { map, on_file: multipath::wwid_on_file(host, wwid)? })
}

/// Whether `/dev/mapper/NAME` is udev's link to this map (`../dm-N`).
fn leads_to(host: &dyn Host, map: &Map) -> bool {
    host.read_link(&format!("/dev/mapper/{}", map.name))
        .is_ok_and(|target| target.rsplit('/').next() == Some(map.block_name().as_str()))
}

fn own_disks<'a>(scope: &'a Scope, topology: &'a Topology) -> impl Iterator<Item = &'a BlockDevice> {
    let devices = topology.devices_of(&scope.paths);
    devices.filter(|view| !topology.is_strangers(view, scope.wwid.as_ref())).filter_map(|view| view.block())
}

/// What lies upon the volume. Of a volume with a map, what may still lie upon its disks is none of its content.
fn find_layers(host: &dyn Host, scope: &Scope, topology: &Topology) -> Result<Vec<Layer>, Error> {
    let blocks: Vec<&BlockDevice> = match &topology.map {
        Some(view) => view.block.iter().collect(),
        None => own_disks(scope, topology).collect(),
    };
    let mut found = BTreeSet::new();
    for block in blocks {
        found.extend(layers::upon(host, block)?);
    }
    Ok(found.into_iter().collect())
}

/// Whether somebody may be in a last close of the map, and whether he was there all the time. It is counted before /proc is read and
/// again after. By the larger count whoever opens it or ends a close meanwhile may be taken for a last close, but none is hidden;
/// by the smaller one nobody who comes and goes counts.
fn closing(host: &dyn Host, topology: &Topology) -> Result<(bool, bool), Error> {
    let Some(view) = &topology.map else { return Ok((false, false)) };
    let again = dm::map_of(host, &view.map.wwid)?.filter(|map| map.number == view.map.number);
    let (before, after) = (view.map.open_count, again.map_or(0, |map| map.open_count));
    Ok((topology.is_open_unseen(before.max(after)), topology.is_open_unseen(before.min(after))))
}

/// Who has the volume open. A partition is a part of the volume, not a user of it, so what counts is who has *it*
/// open; of what else lies upon the volume, its users are told as well.
fn find_openers(host: &dyn Host, scope: &Scope, topology: &Topology) -> Result<Vec<Opener>, Error> {
    let disks = || own_disks(scope, topology);
    let mut todo: Vec<(BlockName, DevNumber)> = match &topology.map {
        Some(view) if view.map.open_count > 0 => vec![(view.map.block_name(), view.map.number)],
        Some(_) => Vec::new(),
        // Rarely is anything stacked upon them now; then its users count.
        None if scope.openers == Openers::OfMap && !disks().any(|block| !block.holders.is_empty()) => {
            return Ok(Vec::new());
        }
        None => disks().map(|block| (block.name.clone(), block.number)).collect(),
    };
    let map = topology.map.as_ref().map(|view| view.map.block_name());
    if scope.bare && map.is_some() {
        todo.extend(disks().map(|block| (block.name.clone(), block.number)));
    }
    let mut found = BTreeSet::new();
    while let Some((name, number)) = todo.pop() {
        for opener in openers::openers_of(host, &name, number)? {
            let part = match &opener {
                Opener::Holder(layer) if map.as_ref() == Some(&layer.name) => true,
                Opener::Holder(layer) => {
                    todo.push((layer.name.clone(), layer.number));
                    layer.is_partition()
                }
                _ => false,
            };
            if !part {
                found.insert(opener);
            }
        }
    }
    Ok(found.into_iter().collect())
}
