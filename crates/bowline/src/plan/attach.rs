//! From connection properties to something that can be opened: a map (C3), or one device (C14).

mod multipath;
mod single;

pub use multipath::why_no_map;

use std::time::Duration;

use bowline_host::iscsi::Endpoint;
use bowline_host::names::DevNumber;
use bowline_host::scsi::BlockDevice;
use bowline_host::{Moment, Wwid};

use super::path::{self, Progress};
use super::{Decision, Draft, Step, View};
use crate::connection::WantedPath;
use crate::error::{Error, ErrorKind};
use crate::ledger::Ending;
use crate::policy::LoginPolicy;
use crate::sabotage::{met, sabotaged};
use crate::topology::{DeviceView, MapView};

/// The goal of a connect.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Every path, in the controller's order.
    pub paths: Vec<WantedPath>,
    /// A map is wanted.
    pub multipath: bool,
    /// Without a map, one device will do (C11).
    pub allow_single_device: bool,
    /// The identity every path must have.
    pub expected: Option<Wwid>,
    /// The volume is attached already, by the journal: its devices are trusted.
    pub live: bool,
    /// How a login is tried.
    pub login: LoginPolicy,
    /// How often a LUN is scanned for.
    pub scan_attempts: u32,
    /// When there are paths enough.
    pub enough: Enough,
    /// When the connect began.
    pub began: Moment,
    /// When the last login must be over.
    pub logins_end: Moment,
    /// When the attach must be done, so that what is left of the verb's time is enough to clean up.
    pub deadline: Moment,
}

impl Attach {
    /// So many paths must work; there are no more than these.
    pub(crate) fn least(&self) -> usize {
        match self.enough {
            Enough::Quorum { paths, .. } => paths.min(self.paths.len()),
            Enough::All => 0,
        }
    }
}

/// When enough paths are in the map to hand it out (B1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// That many, and then those that come within the grace (see [`crate::ConnectOptions::grace`]).
    Quorum {
        /// At least.
        paths: usize,
        /// Then so much longer; `None`: as long as the first took.
        grace: Option<Duration>,
    },
    /// All that can be had: the map has been handed out already.
    All,
}

/// A disk that cannot be read this often is given up, in single path (C7: not being readable is no error yet).
const READ_TRIES: u32 = 3;

/// What to do next.
pub fn plan(goal: &Attach, view: &View<'_>) -> Decision {
    let progress: Vec<(&WantedPath, Progress<'_>)> =
        goal.paths.iter().map(|path| (path, path::progress(goal, path, view))).collect();
    if let Some(error) = progress.iter().find_map(|(_, p)| match p {
        Progress::Refused(error) => Some(error.clone()),
        _ => None,
    }) {
        return Decision::Refused(error);
    }
    let identity = match identity(goal, &progress, view) {
        Ok(identity) => identity,
        Err(error) => return Decision::Refused(error),
    };
    if let (false, Some(map)) = (goal.live, &view.topology.map)
        && let Some(path) = map.strangers.first()
    {
        return Decision::Refused(with_strangers(map, *path));
    }
    match goal.multipath {
        true => multipath::plan(goal, &progress, identity.as_ref(), view),
        false => single::plan(goal, &progress, view),
    }
}

/// A map with paths that are not of this connection is somebody's who attached the volume before us, or has an idle disk of somebody's: no
/// disconnect could give it back (D4). Nobody can tell the two apart for certain, so it stays, and is named.
fn with_strangers(map: &MapView, path: DevNumber) -> Error {
    let name = &map.map.name;
    Error::new(
        ErrorKind::Identity,
        format!("map {name} of volume {} has a path, {path}, that is not of this connection", map.map.wwid),
    )
    .hint(format!(
        "find out who has brought {path} in (lsblk -S), and who uses map {name}; if nobody does, remove it (multipath -f {name}) and that \
         device, and connect again; or connect with every portal that leads to the volume"
    ))
}

/// Every path that can tell must tell the same identity, and the expected one where there is one (B3). One that
/// cannot tell is skipped (C5).
fn identity(
    goal: &Attach,
    progress: &[(&WantedPath, Progress<'_>)],
    view: &View<'_>,
) -> Result<Option<Wwid>, Error> {
    let mut agreed = goal.expected.clone().map(|wwid| (wwid, "the expected identity".to_owned()));
    for (path, device) in progress.iter().filter_map(|(path, p)| Some((path, told(goal, path, p, view)?))) {
        let Some(wwid) = &device.device.wwid else { continue };
        match &agreed {
            None => agreed = Some((wwid.clone(), path.endpoint.to_string())),
            Some((other, whose)) if other != wwid && !sabotaged!(SkipIdentity) => {
                met!(IdentityDiffers);
                return Err(Error::new(
                    ErrorKind::Identity,
                    format!("LUN {} of {} is volume {wwid}, but {whose} is {other}", path.lun, path.endpoint),
                )
                .hint("have the controller export the volume anew: the paths lead to different volumes"));
            }
            Some(_) => {}
        }
    }
    let agreed = agreed.map(|(wwid, _)| wwid);
    match view.topology.foreign_maps.first() {
        Some(map) => Err(Error::new(
            ErrorKind::Identity,
            format!(
                "map {} holds a device of this volume, but its identity is {}{}",
                map.name,
                map.wwid,
                agreed.map_or(String::new(), |wwid| format!(", not {wwid}"))
            ),
        )),
        None => Ok(agreed),
    }
}

/// The device of a path, once what sysfs says of it stems from a scan of ours, or from a session of ours: also before it
/// has become a disk.
fn told<'a>(
    goal: &Attach,
    path: &WantedPath,
    progress: &Progress<'_>,
    view: &View<'a>,
) -> Option<&'a DeviceView> {
    match progress {
        Progress::Present(_) | Progress::Waits { .. } => {}
        _ => return None,
    }
    view.topology.device(path).filter(|_| goal.live || path::is_new(path, view.ledger))
}

/// When the map was read from, if it was, and it still is fit to be handed out.
fn read_from(map: &MapView, view: &View<'_>) -> Option<Moment> {
    let step = read_step(map);
    view.ledger.last(&step).filter(|(_, ending)| map.ready() && ending.is_ok()).map(|(when, _)| when)
}

fn read_step(map: &MapView) -> Step {
    Step::VerifyRead { device: map.map.block_name(), number: map.map.number }
}

/// A map is usable when one read from it succeeds; until udev is done with it there is no use in trying. False when
/// it was tried often enough.
fn prove(draft: &mut Draft, map: &MapView, view: &View<'_>) -> bool {
    match map.ready() {
        true if !view.ledger.succeeded(&read_step(map)) => {
            draft.want(view, read_step(map), 10, Duration::from_millis(250))
        }
        _ => {
            let name = &map.map.name;
            let what = match map.node {
                true => format!("map {name} to become usable"),
                false => format!("udev to make /dev/mapper/{name} a link to the map"),
            };
            draft.wait(what, Some(view.next_look()));
            true
        }
    }
}

fn read_of(block: &BlockDevice) -> Step {
    Step::VerifyRead { device: block.name.clone(), number: block.number }
}

/// Whether a disk was read: `Some(Err(steps))` while that is being found out, `None` when it cannot be.
fn read_device(device: &DeviceView, view: &View<'_>) -> Option<Result<(), Vec<Step>>> {
    let block = device.block()?;
    let step = read_of(block);
    match view.ledger.last(&step) {
        _ if view.ledger.running(&step) => Some(Err(Vec::new())),
        Some((_, Ending::Ok)) => Some(Ok(())),
        _ if view.ledger.failures(&step) >= READ_TRIES => None,
        _ => Some(Err(vec![step])),
    }
}

/// No portal worked, and why, of each. Where time ran out, `waiting` is what the disk that is there was waiting for.
fn no_path(progress: &[(&WantedPath, Progress<'_>)], waiting: &[String], view: &View<'_>) -> Error {
    let missing = view.ledger.entries().iter().any(|e| matches!(&e.ended, Some((_, Ending::Host(_)))));
    let mut error = Error::new(
        if missing { ErrorKind::Host } else { ErrorKind::NotAttached },
        match progress {
            [(path, _)] => format!("the only portal, {}, did not work", path.endpoint),
            _ => format!("none of the {} portals worked", progress.len()),
        },
    );
    for (path, p) in progress {
        match p {
            Progress::Failed(why) => error = error.cause(format!("{}: {why}", path.endpoint)),
            Progress::Waits { what, .. } => {
                error = error.cause(format!("{}: still waiting for {what}", path.endpoint));
            }
            Progress::Present(_) if waiting.is_empty() => {
                error = error.cause(format!("{}: the disk cannot be read", path.endpoint));
            }
            Progress::Present(_) => {
                let what = waiting.join(", ");
                error = error.cause(format!("{}: still waiting for {what}", path.endpoint));
            }
            _ => error = error.cause(format!("{}: not tried: no time was left", path.endpoint)),
        }
    }
    if missing {
        return error.hint("is open-iscsi installed, and does iscsid run? systemctl start iscsid");
    }
    error.hint("check that the portals can be reached from this host and that the target exports the LUN to its initiator name")
}

/// The disk that was read from, where there is no map: the one that is handed out (C11, C14).
pub fn read_disk<'a>(goal: &Attach, view: &View<'a>) -> Option<&'a DeviceView> {
    let was_read =
        |device: &&DeviceView| device.block().is_some_and(|block| view.ledger.succeeded(&read_of(block)));
    goal.paths.iter().filter_map(|path| view.topology.device(path)).find(was_read)
}

/// A path that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub endpoint: Endpoint,
    /// Why.
    pub reason: String,
    /// Whether it may still come.
    pub pending: bool,
}

/// The paths that are not in use, and why: for the report.
pub fn missing(goal: &Attach, view: &View<'_>) -> Vec<Missing> {
    let missing = |path: &WantedPath| {
        let (reason, pending) = match path::progress(goal, path, view) {
            Progress::Failed(why) => (why, false),
            Progress::Waits { what, .. } => (format!("not there yet: waiting for {what}"), true),
            Progress::Needs(step) => (format!("not there yet: next is to {step}"), true),
            Progress::Refused(error) => (error.message, false),
            Progress::Present(device) => {
                let (map, block) = (view.topology.map.as_ref()?, device.block()?);
                match map.has(block.number) {
                    true if map.is_active(block.number) => return None,
                    // multipathd takes it back by itself once it answers again.
                    true => {
                        (format!("{} is in the map, but the kernel does not use it now", block.name), false)
                    }
                    false if device.given_up() => {
                        (format!("{} cannot be used: {}", block.name, multipath::GIVEN_UP), true)
                    }
                    false => (format!("{} is not in the map yet", block.name), true),
                }
            }
        };
        Some(Missing { endpoint: path.endpoint.clone(), reason, pending })
    };
    goal.paths.iter().filter_map(missing).collect()
}
