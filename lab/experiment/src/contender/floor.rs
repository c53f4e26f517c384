//! The floor: the work that no driver can do without, done side by side, by one that decides nothing, verifies nothing
//! and cleans nothing up. It uses none of bowline's crates. With `find_multipaths no` multipathd makes the maps by itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab_experiment::Outcome;
use lab_wire::{Context, Failure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Answer, Contend, One, Volume, together};
use crate::counter::{Counter, threads_of};
use crate::programs::by;

/// How often to look for what nothing tells us of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const RECORDS: &str = "/etc/iscsi/nodes";
const MULTIPATHD: &str = "/org/kernel/linux/storage/multipathd";

/// The driver.
pub struct Floor;

/// A portal with a target behind it, and the LUNs wanted of it.
#[derive(Clone)]
struct Door {
    iqn: String,
    portal: String,
    luns: Vec<u64>,
}

impl Contend for Floor {
    fn version(&self) -> String {
        "floor".to_owned()
    }

    fn attach(&mut self, volumes: &[Volume], limit: Duration) -> Result<Answer, Failure> {
        measured(volumes, |began| attach(volumes, began, began + limit))
    }

    fn detach(&mut self, volumes: &[Volume], _force: bool, limit: Duration) -> Result<Answer, Failure> {
        measured(volumes, |began| detach(volumes, began, began + limit))
    }
}

/// Devices, and marks in time.
type Done = (Vec<String>, Vec<Value>);

fn measured(
    volumes: &[Volume],
    work: impl FnOnce(Instant) -> Result<Done, Failure>,
) -> Result<Answer, Failure> {
    let counter = Counter::begin(&threads_of(std::process::id()));
    let began = Instant::now();
    let done = work(began);
    let seconds = began.elapsed().as_secs_f64();
    let programs = counter.and_then(Counter::end);
    let (done, error) = match done {
        Ok(done) => (done, None),
        Err(failure) => (Done::default(), Some(failure.to_string())),
    };
    let outcome = if error.is_none() { Outcome::Ok } else { Outcome::Failed };
    let (devices, events) = done;
    let one = |number: usize| One {
        outcome,
        error: error.clone(),
        device: devices.get(number).cloned(),
        loss_told: false,
    };
    let (step, devices) = together((0..volumes.len()).map(one).collect(), seconds, programs, None);
    Ok(Answer { step, devices, events })
}

/// Every portal once, with all LUNs that are wanted of it.
fn doors(volumes: &[Volume]) -> Vec<Door> {
    let mut doors: Vec<Door> = Vec::new();
    for volume in volumes {
        let list = |key: &str| volume.connection[key].as_array().cloned().unwrap_or_default();
        let (iqns, portals, luns) = (list("target_iqns"), list("target_portals"), list("target_luns"));
        for ((iqn, portal), lun) in iqns.iter().zip(&portals).zip(&luns) {
            let (iqn, portal) = (iqn.as_str().unwrap_or_default(), portal.as_str().unwrap_or_default());
            let lun = lun.as_u64().unwrap_or_default();
            match doors.iter_mut().find(|door| (door.iqn.as_str(), door.portal.as_str()) == (iqn, portal)) {
                Some(door) => door.luns.push(lun),
                None => doors.push(Door { iqn: iqn.to_owned(), portal: portal.to_owned(), luns: vec![lun] }),
            }
        }
    }
    doors
}

fn attach(volumes: &[Volume], began: Instant, limit: Instant) -> Result<Done, Failure> {
    let doors = doors(volumes);
    let now = || began.elapsed().as_secs_f64();
    // Each portal by itself: none waits for another's login.
    let opened = side_by_side(&doors, |door| {
        let host = login(door, limit)?;
        let logged_in = now();
        scan(&host, &door.luns, limit)?;
        Ok((host, logged_in, now()))
    })?;
    let (door, (host, ..)) = doors.iter().zip(&opened).next().ok_or_else(|| Failure::new("no portal"))?;
    let mut devices = Vec::new();
    for lun in &door.luns {
        let map = PathBuf::from(format!("/dev/mapper/{}", identity(host, *lun)?));
        wait_for(limit, &format!("{} to be there", map.display()), || map.exists())?;
        devices.push(map.display().to_string());
    }
    let last = |at: fn(&(String, f64, f64)) -> f64| opened.iter().map(at).fold(0.0, f64::max);
    let marks =
        vec![mark("logged_in", last(|one| one.1)), mark("disks", last(|one| one.2)), mark("maps", now())];
    Ok((devices, marks))
}

fn mark(name: &str, at: f64) -> Value {
    json!({ "at": at, "event": name })
}

/// Logs in, unless there is a session; the SCSI host of the session.
fn login(door: &Door, limit: Instant) -> Result<String, Failure> {
    if let Some(host) = host_of(door) {
        return Ok(host);
    }
    let folder = Path::new(RECORDS).join(&door.iqn);
    let (address, port) = door.portal.rsplit_once(':').unwrap_or((&door.portal, "3260"));
    let record = format!(
        "node.name = {}\nnode.startup = manual\nnode.session.scan = manual\nnode.conn[0].address = {address}\n\
         node.conn[0].port = {port}\niface.iscsi_ifacename = default\niface.transport_name = tcp\n",
        door.iqn
    );
    let written =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(record_name(door)), record));
    written.context(|| format!("cannot write the record of {}", door.portal))?;
    iscsiadm(door, "--login", limit)?;
    let mut host = None;
    wait_for(limit, "the session", || {
        host = host_of(door);
        host.is_some()
    })?;
    host.ok_or_else(|| Failure::new("no session"))
}

fn record_name(door: &Door) -> String {
    door.portal.replacen(':', ",", 1)
}

/// Not through another program that ends it at the limit: that one would be counted.
fn iscsiadm(door: &Door, what: &str, limit: Instant) -> Result<(), Failure> {
    let mut command = Command::new("iscsiadm");
    command.args(["-m", "node", "-T", &door.iqn, "-p", &door.portal, what]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.context(|| "cannot start iscsiadm")?;
    let pid = Pid::from_child(&child);
    let status = by(limit, &format!("iscsiadm {what} at {}", door.portal), move || child.wait());
    if status.is_err() {
        let _ = kill_process(pid, Signal::KILL);
    }
    match status?.context(|| "cannot wait for iscsiadm")?.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("iscsiadm {what} failed at {}", door.portal))),
    }
}

/// The SCSI host of the session through a portal.
fn host_of(door: &Door) -> Option<String> {
    let address = door.portal.rsplit_once(':').map_or(door.portal.as_str(), |(address, _)| address);
    let connections = fs::read_dir("/sys/class/iscsi_connection").ok()?;
    let ours = connections.flatten().map(|entry| entry.path()).find(|path| {
        let seen = fs::read_to_string(path.join("persistent_address"));
        seen.is_ok_and(|seen| seen.trim() == address)
    })?;
    let place = fs::canonicalize(ours).ok()?;
    let mut parts = place.components().map(|part| part.as_os_str().to_string_lossy());
    parts.find_map(|part| {
        part.strip_prefix("host").filter(|number| number.parse::<u32>().is_ok()).map(str::to_owned)
    })
}

fn scan(host: &str, luns: &[u64], limit: Instant) -> Result<(), Failure> {
    let file = format!("/sys/class/scsi_host/host{host}/scan");
    luns.iter().try_for_each(|lun| write(&file, format!("0 0 {lun}"), limit))
}

/// To a file of the kernel's, which may do there and then what it is told.
fn write(file: &str, words: String, limit: Instant) -> Result<(), Failure> {
    let place = file.to_owned();
    let written = by(limit, &format!("{file} to be written"), move || fs::write(place, words))?;
    written.context(|| format!("cannot write {file}"))
}

fn flush(node: String, limit: Instant) -> Result<(), Failure> {
    let what = format!("a flush of {node}");
    let flushed = by(limit, &what, move || fs::File::open(node).and_then(|file| file.sync_all()))?;
    flushed.context(|| format!("{what} failed"))
}

/// What multipath calls a volume, from the disk's own identity.
fn identity(host: &str, lun: u64) -> Result<String, Failure> {
    let file = format!("/sys/class/scsi_device/{host}:0:0:{lun}/device/wwid");
    let wwid = fs::read_to_string(&file).context(|| format!("cannot read {file}"))?;
    Ok(format!("3{}", wwid.trim().trim_start_matches("naa.")))
}

fn detach(volumes: &[Volume], began: Instant, limit: Instant) -> Result<Done, Failure> {
    let doors = doors(volumes);
    let now = || began.elapsed().as_secs_f64();
    let hosts: Vec<Option<String>> = doors.iter().map(host_of).collect();
    let mut maps: BTreeMap<String, Vec<(&str, u64)>> = BTreeMap::new();
    for (door, host) in doors.iter().zip(&hosts) {
        for (lun, host) in door.luns.iter().filter_map(|lun| Some((*lun, host.as_deref()?))) {
            maps.entry(identity(host, lun)?).or_default().push((host, lun));
        }
    }
    // Each volume by itself, and each of its disks.
    let taken_apart = side_by_side(&maps.iter().collect::<Vec<_>>(), |(map, disks)| {
        flush(format!("/dev/mapper/{map}"), limit)?;
        let flushed = now();
        ask_multipathd(format!("del map {map}"), limit)?;
        let removed = now();
        side_by_side(disks, |(host, lun)| {
            let folder = format!("/sys/class/scsi_device/{host}:0:0:{lun}");
            write(&format!("{folder}/device/delete"), "1".to_owned(), limit)?;
            wait_for(limit, "a disk to be gone", || !Path::new(&folder).exists())
        })?;
        Ok([flushed, removed, now()])
    })?;
    let free: Vec<&Door> = doors
        .iter()
        .zip(&hosts)
        .filter(|(_, host)| host.as_deref().is_some_and(|host| !has_disks(host)))
        .map(|(door, _)| door)
        .collect();
    side_by_side(&free, |door| {
        iscsiadm(door, "--logout", limit)?;
        let record = Path::new(RECORDS).join(&door.iqn).join(record_name(door));
        fs::remove_file(&record).context(|| format!("cannot remove {}", record.display()))?;
        // The folder goes with its last record.
        let _ = fs::remove_dir(Path::new(RECORDS).join(&door.iqn));
        Ok(())
    })?;
    let last = |step: usize| taken_apart.iter().map(|at| at[step]).fold(0.0, f64::max);
    let steps = ["flushed", "map_removed", "disks_gone"].into_iter().zip(0..);
    let mut marks: Vec<Value> = steps.map(|(name, step)| mark(name, last(step))).collect();
    marks.push(mark("logged_out", now()));
    Ok((Vec::new(), marks))
}

fn has_disks(host: &str) -> bool {
    let mut entries = fs::read_dir("/sys/class/scsi_disk").into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{host}:")))
}

/// A request as multipathd takes it: a length, then the words with a zero at their end; so is its answer.
fn ask_multipathd(words: String, limit: Instant) -> Result<(), Failure> {
    let what = format!("multipathd's answer to {words}");
    let ask = move || -> std::io::Result<Vec<u8>> {
        let mut socket = UnixStream::connect_addr(&SocketAddr::from_abstract_name(MULTIPATHD)?)?;
        let mut request = words.into_bytes();
        request.push(0);
        socket.write_all(&request.len().to_ne_bytes())?;
        socket.write_all(&request)?;
        let mut length = [0; size_of::<usize>()];
        socket.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from_ne_bytes(length).min(1 << 16)];
        socket.read_exact(&mut answer)?;
        Ok(answer)
    };
    let answer = by(limit, &what, ask)?.context(|| format!("cannot have {what}"))?;
    match answer.starts_with(b"ok") {
        true => Ok(()),
        false => Err(Failure::new(format!("{what}: {}", String::from_utf8_lossy(&answer).trim()))),
    }
}

fn wait_for(limit: Instant, what: &str, mut so: impl FnMut() -> bool) -> Result<(), Failure> {
    while !so() {
        if Instant::now() >= limit {
            return Err(Failure::new(format!("waited in vain for {what}")));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The work for each, all at the same time; their results in the same order, or the first failure.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Failure> + Sync,
) -> Result<Vec<R>, Failure> {
    thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<R, Failure>>| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("a thread of the floor panicked")))
        };
        threads.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_behind_the_same_portals_share_them() {
        let volume = |lun: u64| Volume {
            connection: json!({ "target_iqns": ["a", "a"], "target_portals": ["10.0.1.2:3260", "10.0.2.2:3260"],
                "target_luns": [lun, lun] }),
            multipath: true,
        };
        let doors = doors(&[volume(1), volume(2)]);
        assert_eq!(doors.len(), 2);
        assert_eq!(doors[1].luns, [1, 2]);
        assert_eq!(record_name(&doors[1]), "10.0.2.2,3260");
    }
}
