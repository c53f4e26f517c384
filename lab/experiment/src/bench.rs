//! A benchmark: volumes attached and detached at once, timed from outside of whoever does it, so that all are measured alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab_experiment::{Bench, BenchWish, LONGEST_RUN, Outside, Sessions, Step, Timed};
use lab_wire::Failure;

use crate::contender::{self, Answer, Contend, Volume, longest_call};
use crate::left::Left;
use crate::observe::Device;
use crate::processor::Processor;
use crate::{host, lab};

/// Nobody waits longer than this for a call.
const CALL_LIMIT: Duration = Duration::from_secs(900);
/// How often the maps are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// After a call has returned, what is still missing gets so long.
const LONGER: Duration = Duration::from_secs(20);
/// What comes and goes with a volume has a name in one of these; the sessions first.
const NAMES: [&str; 5] =
    ["/sys/class/iscsi_session", "/sys/class/block", "/dev/mapper", "/dev/disk/by-path", "/dev/disk/by-id"];
/// Attach and detach of the volumes and of their keeper, each as long as it may take.
const _: () =
    assert!(4 * longest_call(CALL_LIMIT) + 2 * LONGER.as_secs() + lab::LONGEST <= LONGEST_RUN.as_secs());
/// There while udev has an event that is not dealt with (systemd 252, `src/udev/udevd.c`).
const UDEV_IS_BUSY: &str = "/run/udev/queue";

/// Runs it; the host must be clean.
///
/// # Errors
/// The laboratory failed.
pub fn run(wish: &BenchWish) -> Result<Bench, Failure> {
    let mut contender = contender::ready(wish.contender, Some(CALL_LIMIT))?;
    let versions = host::versions(contender.version());
    let volume = |number| Ok(Volume { connection: lab::connection(number)?, multipath: true });
    let volumes: Vec<Volume> = (1..=wish.volumes).map(volume).collect::<Result<_, Failure>>()?;
    // Another volume of the same target keeps the sessions; of new ones, nobody pays for the first call of a program.
    let keeper = [volume(wish.volumes + 1)?];
    let kept = contender.attach(&keeper, CALL_LIMIT)?;
    if !kept.step.ok() {
        return Err(Failure::new(format!("the volume that keeps the sessions: {:?}", kept.step.error)));
    }
    let mut keeper_detach = None;
    if wish.sessions == Sessions::New {
        keeper_detach = Some(detach_keeper(contender.as_mut(), &keeper)?);
    }
    settled()?;
    if wish.sessions == Sessions::New && names_in(NAMES[0]).next().is_some() {
        let why = keeper_detach.and_then(|step| step.error);
        return Err(Failure::new(format!(
            "a session stays of the volume that was to be detached again: {why:?}"
        )));
    }
    if wish.dead_half {
        lab::lab(&["drop", "100%", "1", "2"])?;
    }
    let portals = if wish.dead_half { 2 } else { 4 };
    let before = (names(), Left::look()?);
    let watch = Watch::begin(usize::from(wish.volumes), portals);
    let processor = Processor::begin();
    let (attached, seen) = watched(|over| watch.until(over), || contender.attach(&volumes, CALL_LIMIT));
    let (attached, attach_processor) = (attached?, processor.seconds());
    settled()?;
    let processor = Processor::begin();
    let (detached, gone) =
        watched(|over| gone(&before.0, over), || contender.detach(&volumes, false, CALL_LIMIT));
    let (detached, detach_processor) = (detached?, processor.seconds());
    let mut left = Left::look()?.beyond(&before.1);
    if wish.sessions == Sessions::Existing {
        keeper_detach = Some(detach_keeper(contender.as_mut(), &keeper)?);
    }
    // What the keeper's detach has left counts, whether it was before these or after them.
    left.extend(Left::look()?.counts());
    lab::lab(&["heal"])?;
    Ok(Bench {
        wish: wish.clone(),
        outside: Outside::default(),
        versions,
        attach: attached.step,
        attach_processor,
        seen,
        events: attached.events,
        detach: detached.step,
        detach_events: detached.events,
        gone,
        detach_processor,
        keeper_detach,
        leftovers: left,
        not_cleaned: None,
    })
}

fn detach_keeper(contender: &mut dyn Contend, keeper: &[Volume]) -> Result<Step, Failure> {
    Ok(contender.detach(keeper, false, CALL_LIMIT)?.step)
}

/// Calls somebody while another watches, who gets a little longer where the call succeeds.
fn watched<T: Default + Send>(
    watch: impl FnOnce(&AtomicBool) -> T + Send,
    call: impl FnOnce() -> Result<Answer, Failure>,
) -> (Result<Answer, Failure>, T) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&over));
        let answer = call();
        let until = Instant::now() + LONGER;
        while !watcher.is_finished()
            && Instant::now() < until
            && answer.as_ref().is_ok_and(|answer| answer.step.ok())
        {
            thread::sleep(LOOK_AGAIN);
        }
        over.store(true, Ordering::Relaxed);
        (answer, watcher.join().unwrap_or_default())
    })
}

/// After how many seconds there is nothing but what was there before, and udev is idle; nothing when it is over before.
fn gone(before: &BTreeSet<String>, over: &AtomicBool) -> Option<f64> {
    let began = Instant::now();
    let is_new = |name: &str| !before.contains(name);
    while !over.load(Ordering::Relaxed) {
        // The sessions go last, and are few: while they are there the rest need not be looked at.
        let busy = Path::new(UDEV_IS_BUSY).exists() || names_in(NAMES[0]).any(|name| is_new(&name));
        if !busy && !names().iter().any(|name| is_new(name)) {
            return Some(began.elapsed().as_secs_f64());
        }
        thread::sleep(LOOK_AGAIN);
    }
    None
}

/// The sessions, block devices, maps and links that are there.
fn names() -> BTreeSet<String> {
    NAMES.iter().flat_map(|folder| names_in(folder)).collect()
}

fn names_in(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string())
}

/// Until udev has nothing under way: what is measured next shall not pay for it.
fn settled() -> Result<(), Failure> {
    Left::look().map(drop)
}

/// Looks at the maps while somebody attaches volumes.
struct Watch {
    began: Instant,
    before: BTreeSet<String>,
    volumes: usize,
    portals: usize,
}

impl Watch {
    fn begin(volumes: usize, portals: usize) -> Self {
        Self { began: Instant::now(), before: maps(), volumes, portals }
    }

    /// Until every volume has a map with a name, and each a path over each portal that lives; or until it is over.
    fn until(&self, over: &AtomicBool) -> Timed {
        let mut timed = Timed::default();
        while timed.all_paths.is_none() && !over.load(Ordering::Relaxed) {
            let now: Vec<String> = maps().difference(&self.before).cloned().collect();
            let at = || Some(self.began.elapsed().as_secs_f64());
            if !now.is_empty() && timed.first_map.is_none() {
                timed.first_map = at();
            }
            if now.len() >= self.volumes {
                timed.all_maps = timed.all_maps.or_else(at);
                if now.iter().filter(|map| paths_of(map) >= self.portals).count() >= self.volumes {
                    timed.all_paths = at();
                }
            }
            thread::sleep(LOOK_AGAIN);
        }
        timed
    }
}

/// The maps that udev has given their names.
fn maps() -> BTreeSet<String> {
    names_in("/dev/mapper").filter(|map| map != "/dev/mapper/control").collect()
}

/// How many paths a map has, without starting a program for it.
fn paths_of(map: &str) -> usize {
    Device::behind(map).map_or(0, |device| device.slaves())
}
