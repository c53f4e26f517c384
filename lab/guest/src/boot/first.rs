//! The guest's first process: file systems, then reaping until the laboratory's own process ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lab_wire::{Context, Failure, paths};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{WaitOptions, wait};
use rustix::system::{RebootCommand, reboot, sethostname};

/// Mounts, starts `lab boot`, reaps every child until that one ends, and powers off.
pub fn init() -> Result<(), Failure> {
    mount_all()?;
    sethostname(b"lab").context(|| "cannot set the host's name")?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("boot").current_dir("/root").env_clear();
    command
        .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8");
    let boot = command.spawn().context(|| "cannot start the laboratory")?;
    let boot = i32::try_from(boot.id()).context(|| "an impossible process id")?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid.as_raw_nonzero().get() == boot => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context(|| "cannot wait for the laboratory"),
        }
    }
    rustix::fs::sync();
    // The outside ends the machine when it has the last frame; this is for when there was none.
    thread::sleep(Duration::from_millis(500));
    reboot(RebootCommand::Restart).context(|| "cannot end the machine")
}

fn mount_all() -> Result<(), Failure> {
    for (kind, place, flags) in [
        ("proc", "/proc", MountFlags::empty()),
        ("sysfs", "/sys", MountFlags::empty()),
        ("tmpfs", "/run", MountFlags::NOSUID),
        ("tmpfs", "/tmp", MountFlags::NOSUID),
    ] {
        mount(kind, place, kind, flags, None).context(|| format!("cannot mount {place}"))?;
    }
    // LIO looks for the last one when its module loads, and complains where it is not.
    // LVM's udev rule goes by the one before it: only where there is it hands activation to systemd-run.
    for folder in [
        "/dev/pts",
        "/dev/shm",
        "/run/lock/iscsi",
        "/run/lock/lvm",
        "/run/netns",
        "/run/udev",
        "/run/systemd/system",
        "/etc/target",
    ] {
        fs::create_dir_all(folder).context(|| format!("cannot make {folder}"))?;
    }
    mount("devpts", "/dev/pts", "devpts", MountFlags::empty(), None).context(|| "cannot mount /dev/pts")?;
    mount("tmpfs", "/dev/shm", "tmpfs", MountFlags::empty(), None).context(|| "cannot mount /dev/shm")?;
    for (name, to) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        let _ = symlink(format!("/proc/self/fd{to}"), format!("/dev/{name}"));
    }
    let payload = |folder: &str| format!("{}/{folder}", paths::PAYLOAD);
    mount_bind(payload(paths::PAYLOAD_BIN), "/usr/local/bin").context(|| "cannot bind the programs")?;
    mount_bind(payload(paths::PAYLOAD_CASES), paths::CASES).context(|| "cannot bind the cases")
}
