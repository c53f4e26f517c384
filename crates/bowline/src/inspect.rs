//! `inspect`: every attachment with its paths, and every leftover with the reason why it is one (B5). It
//! changes nothing.

use bowline_host::{Host, MapName, Wwid};
use serde::Serialize;

use crate::claims;
use crate::connect::path_reports;
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::journal::{self, Attachment, Phase};
use crate::report::{PathReport, PathState, SCHEMA};
use crate::topology::{DeviceView, Scope, Topology, observe};

/// Answer of inspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Version of this form.
    pub schema: u32,
    /// Every attachment, by id.
    pub attachments: Vec<AttachmentReport>,
    /// What serves no attachment, though bowline's own records say that it made it.
    pub leftovers: Vec<Leftover>,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachmentReport {
    /// Names it in other calls.
    pub id: String,
    /// The controller's name of the volume.
    pub volume: Option<String>,
    /// attaching, attached, detaching.
    pub phase: String,
    /// What to open, while it is attached.
    pub device_node: Option<String>,
    /// Its identity.
    pub wwid: Option<Wwid>,
    /// Its map.
    pub map: Option<MapName>,
    /// The paths that are there.
    pub paths: Vec<PathReport>,
    /// The paths that are wanted and not there.
    pub missing: Vec<WantedPath>,
    /// What is wrong with it, one line each.
    pub problems: Vec<String>,
}

/// Something left over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// node record, session, SCSI device, multipath map, state file.
    pub kind: String,
    /// Which.
    pub name: String,
    /// Why it is one.
    pub reason: String,
}

/// Looks at everything, or at one attachment (by id or device node). A leftover is told by bowline's own records:
/// what others made is not ours to judge.
///
/// # Errors
/// When the host cannot be observed or a state file is damaged.
pub fn inspect(host: &dyn Host, only: Option<&str>) -> Result<Inspection, Error> {
    let attachments = journal::load_all(host)?;
    let mut reports = Vec::new();
    for attachment in &attachments {
        let report = report(host, attachment)?;
        if only.is_none_or(|name| name == report.id || Some(name) == report.device_node.as_deref()) {
            reports.push(report);
        }
    }
    if let (Some(name), true) = (only, reports.is_empty()) {
        return Err(Error::new(ErrorKind::Input, format!("{name} is no attachment of bowline"))
            .hint("bowline inspect shows every attachment with its id and device"));
    }
    let leftovers = match only {
        None => leftovers(host, &attachments)?,
        Some(_) => Vec::new(),
    };
    Ok(Inspection { schema: SCHEMA, attachments: reports, leftovers })
}

fn report(host: &dyn Host, attachment: &Attachment) -> Result<AttachmentReport, Error> {
    let topology = observe(host, &Scope::of(attachment))?;
    let paths = path_reports(&attachment.paths, &topology);
    let missing: Vec<WantedPath> =
        attachment.paths.iter().filter(|path| topology.device(path).is_none()).cloned().collect();
    let map = topology.map.as_ref().map(|view| view.map.name.clone());
    let device_node = match &map {
        Some(name) => Some(format!("/dev/mapper/{name}")),
        None => paths.first().map(|path| path.device.device_node()),
    };
    Ok(AttachmentReport {
        id: attachment.id.clone(),
        volume: attachment.volume.clone(),
        phase: attachment.phase.to_string(),
        problems: problems(attachment, &topology, &paths, &missing),
        device_node,
        wwid: attachment.wwid.clone(),
        map,
        paths,
        missing: if attachment.multipath { missing } else { Vec::new() },
    })
}

fn problems(
    attachment: &Attachment,
    topology: &Topology,
    paths: &[PathReport],
    missing: &[WantedPath],
) -> Vec<String> {
    let mut problems = Vec::new();
    if attachment.phase != Phase::Attached {
        problems.push(format!(
            "it is {}: either a bowline process is at it, or one died; connect or disconnect it to finish",
            attachment.phase
        ));
    }
    if attachment.multipath && attachment.map.is_some() && topology.map.is_none() {
        problems.push("its multipath map is gone".to_owned());
    }
    if paths.is_empty() {
        problems.push("none of its devices is there".to_owned());
    } else if attachment.multipath && !missing.is_empty() {
        problems.push(format!("{} of {} paths are missing", missing.len(), attachment.paths.len()));
    }
    for path in paths.iter().filter(|path| path.state != PathState::Active) {
        let another = another_volume(attachment, topology, path).unwrap_or_default();
        problems.push(format!("path {} by {} is not in use{another}", path.device, path.portal));
    }
    problems
}

/// B3: that a path leads to another volume, by what its disk tells.
fn another_volume(attachment: &Attachment, topology: &Topology, path: &PathReport) -> Option<String> {
    let is_it = |device: &&DeviceView| device.block().is_some_and(|block| block.name == path.device);
    let device = topology.devices_of(&attachment.paths).find(is_it)?;
    let told = device.device.wwid.as_ref().filter(|_| device.tells_another(attachment.wwid.as_ref()))?;
    Some(format!(": it leads to another volume, {told}"))
}

fn leftovers(host: &dyn Host, attachments: &[Attachment]) -> Result<Vec<Leftover>, Error> {
    let mut leftovers = Vec::new();
    for claim in claims::load_all(host)? {
        let dead: Vec<&String> =
            claim.users.iter().filter(|user| !attachments.iter().any(|a| a.id == **user)).collect();
        if dead.is_empty() {
            continue;
        }
        let users = dead.into_iter().cloned().collect::<Vec<_>>().join(", ");
        leftovers.push(Leftover {
            kind: "claim".to_owned(),
            name: claim.endpoint.to_string(),
            reason: format!("it is claimed for {users}, of which there is no attachment"),
        });
    }
    Ok(leftovers)
}
