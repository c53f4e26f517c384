//! The initiator as new, by force: what a scenario left must not reach the next one.
//!
//! Nothing here is careful with data. The configuration is Debian's again, and target and network are as they were.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lab_wire::Failure;
use rustix::process::{Pid, Signal, kill_process};

use super::configuration::{records_as_they_were, unconfigure_multipath};
use super::leftovers::{BINDINGS, Leftovers, STATE, WWIDS, discovery_folders, leftovers, look, node_folder};
use super::sysfs::{self, entries, name};
use crate::daemons::{Daemon, ask_multipathd, processes};
use crate::faults;
use crate::layout;
use crate::program::run_line;
use crate::target;

/// How long an attempt may take until what it removes is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Heals the network, starts the daemons if they do not run, and removes whatever an attach can have made.
pub fn clean() -> Result<(), Failure> {
    faults::heal()?;
    end_bowline();
    target::put_back(&layout::spec()?)?;
    // A daemon that is frozen answers nobody; it is replaced below, or answers now.
    for daemon in [Daemon::Multipathd, Daemon::Iscsid] {
        daemon.thaw();
    }
    records_as_they_were()?;
    if unconfigure_multipath()? {
        Daemon::Multipathd.stop()?;
    }
    for daemon in [Daemon::Multipathd, Daemon::Iscsid] {
        daemon.start()?;
    }
    let _ = fs::remove_dir_all("/run/bowline");
    if look().is_nothing() {
        return Ok(());
    }
    remove_maps();
    delete_devices();
    end_sessions()?;
    remove_records();
    let rest = gone(leftovers);
    if rest.is_nothing() { Ok(()) } else { Err(Failure::new(format!("this stays: {}", rest.to_json()))) }
}

fn end_bowline() {
    for pid in processes(|name| name == "bowline" || name == "bowline-helper") {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Stops queueing first: then nothing that has a map open can hang, and all can be killed.
fn remove_maps() {
    let maps = sysfs::maps();
    if maps.is_empty() {
        return;
    }
    for map in &maps {
        let _ = ask_multipathd(&format!("disablequeueing map {}", map.name));
        let _ = run_line(&format!("dmsetup message {} 0 fail_if_no_path", map.name));
    }
    unmount(&maps.iter().map(|map| map.block.clone()).collect());
    for map in &maps {
        let _ = ask_multipathd(&format!("del map {}", map.name));
    }
    // What multipathd could not remove, dmsetup does, from the top down.
    loop {
        let (held, free): (Vec<_>, Vec<_>) = sysfs::maps().into_iter().partition(|map| map.held);
        for map in &free {
            let _ = run_line(&format!("dmsetup remove --force --retry --noudevsync {}", map.name));
        }
        if held.is_empty() || sysfs::maps().len() == held.len() + free.len() {
            return;
        }
    }
}

/// Unmounts these block devices' file systems, and kills who still has the devices open.
fn unmount(blocks: &BTreeSet<String>) {
    let is_ours = |device: &Path| fs::canonicalize(device).is_ok_and(|real| blocks.contains(name(&real)));
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        if let (Some(device), Some(place)) = (words.next(), words.next())
            && is_ours(Path::new(device))
        {
            let _ = run_line(&format!("umount --lazy {place}"));
        }
    }
    // udev's and multipathd's own opens are short; killing those would break the initiator.
    let own = |name: &str| matches!(name, "multipathd" | "systemd-udevd" | "(udev-worker)" | "lab");
    for pid in processes(|name| !own(name)) {
        let files = entries(format!("/proc/{}/fd", pid.as_raw_nonzero()));
        if pid != Pid::INIT && files.iter().any(|file| is_ours(file)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Deletes every iSCSI device, offline first: a delete that flushes would hang on a dead path.
fn delete_devices() {
    let devices = sysfs::scsi_devices();
    unmount(&devices.iter().map(|device| device.block.clone()).collect());
    for device in devices {
        // A thread each, not waited for: it may stay in the kernel, and we look for the result anyway.
        thread::spawn(move || {
            let folder = Path::new("/sys/bus/scsi/devices").join(&device.hctl);
            // The kernel refuses the word without its newline.
            let _ = fs::write(folder.join("state"), "offline\n");
            let _ = fs::write(folder.join("delete"), "1");
        });
    }
    gone(|| sysfs::scsi_devices().len());
}

/// Logs out of every session; iscsid is replaced in any case, because it cannot cancel a login under way.
fn end_sessions() -> Result<(), Failure> {
    for _ in 0..2 {
        if !sysfs::sessions().is_empty() {
            // Again and again: an iscsid that was just started does not know every session yet.
            gone(|| {
                let _ = run_line("timeout --signal=KILL 20 iscsiadm -m session -u");
                sysfs::sessions().len()
            });
        }
        Daemon::Iscsid.stop()?;
        // An iscsiadm that was killed in the middle would stall everyone who comes after it.
        let _ = fs::remove_file("/run/lock/iscsi/lock.write");
        Daemon::Iscsid.start()?;
        if sysfs::sessions().is_empty() {
            break;
        }
    }
    Ok(())
}

fn remove_records() {
    for folder in discovery_folders().chain([node_folder(), STATE.into()]) {
        let _ = fs::remove_dir_all(folder);
    }
    for file in [WWIDS, BINDINGS] {
        let _ = fs::remove_file(file);
    }
    for folder in ["/run/multipath/failed_wwids", "/run/lvm"] {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Looks until nothing is left or patience ends, and returns the last look.
fn gone<T: Remains>(look: impl Fn() -> T) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen.is_none() || Instant::now() > deadline {
            return seen;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Something that may be all gone.
trait Remains {
    fn is_none(&self) -> bool;
}

impl Remains for usize {
    fn is_none(&self) -> bool {
        *self == 0
    }
}

impl Remains for Leftovers {
    fn is_none(&self) -> bool {
        self.is_nothing()
    }
}
