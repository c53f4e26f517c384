//! `inspect`: every attachment with its paths, and every leftover with the reason why it is one (B5). It
//! changes nothing.

use bowline_host::Host;
use serde::Serialize;

use crate::report::{PathReport, SCHEMA};
use crate::{Error, WantedPath};
use bowline_host::{MapName, Wwid};

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

/// Looks at everything, or at one attachment (by id or device node).
pub fn inspect(_host: &dyn Host, _only: Option<&str>) -> Result<Inspection, Error> {
    Ok(Inspection { schema: SCHEMA, attachments: Vec::new(), leftovers: Vec::new() })
}
