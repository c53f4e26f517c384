//! Everything a script may count on, brought up side by side and verified.
//!
//! Under emulation each program started costs tens of milliseconds and each module as much; what does not
//! wait for another is done in a thread of its own.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread::{self, ScopedJoinHandle};

use lab_wire::{Context, Failure, Family, Frame, Spec, Target};
use rustix::fd::AsFd;
use rustix::mount::{MountFlags, mount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::channel::Channel;
use crate::daemons::{Daemon, wait_for};
use crate::layout::{self, TARGET_NAMESPACE};
use crate::program::{run, run_line};
use crate::target;

/// The modules of the kernel's target, and those of the initiator, that are not loaded by their use.
const TARGET_MODULES: &str = "configfs target_core_mod target_core_file iscsi_target_mod";
const INITIATOR_MODULES: &str = "dm_multipath dm_service_time sd_mod sg iscsi_tcp";

/// What multipath's udev rule calls with `find_multipaths smart`, and LVM's for a volume group that is complete.
const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// Brings up networks, target, udevd, iscsid and multipathd; then sends [`Frame::Ready`].
pub fn bring_up(spec: &Spec, channel: &Channel) -> Result<(), Failure> {
    thread::scope(|scope| {
        let target = scope.spawn(|| {
            if spec.target == Target::Tgt {
                return Ok(());
            }
            run_line(&format!("modprobe -a {TARGET_MODULES}"))?;
            mount("configfs", "/sys/kernel/config", "configfs", MountFlags::empty(), None)
                .context(|| "cannot mount configfs")?;
            channel.note("target's modules")
        });
        let network = scope.spawn(|| make_networks(spec).and_then(|()| channel.note("networks")));
        let initiator = scope.spawn(|| {
            run_line(&format!("modprobe -a {INITIATOR_MODULES}"))?;
            channel.note("initiator's modules")
        });
        start_udevd()?;
        channel.note("udevd")?;
        joined(network)?;
        joined(initiator)?;
        let iscsid = scope.spawn(|| Daemon::Iscsid.start().and_then(|()| channel.note("iscsid")));
        let multipathd = scope.spawn(|| Daemon::Multipathd.start().and_then(|()| channel.note("multipathd")));
        joined(target)?;
        let target = scope.spawn(|| set_up_target(spec));
        joined(target)?;
        channel.note("target")?;
        joined(iscsid)?;
        joined(multipathd)
    })?;
    channel.send(&Frame::Ready)
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().map_err(|_| Failure::new("a thread of the laboratory panicked, see the console"))?
}

/// A veth pair for each portal, one end in the target's namespace.
fn make_networks(spec: &Spec) -> Result<(), Failure> {
    run_line("ip netns add target")?;
    let mut outside = String::from("link set lo up\n");
    let mut inside = outside.clone();
    for portal in 1..=spec.portals {
        let (here, there) = (layout::initiator_interface(portal), layout::target_interface(portal));
        outside += &format!("link add {here} type veth peer name {there} netns target\n");
        for (family, prefix) in [(Family::Ipv4, "24"), (Family::Ipv6, "64 nodad")] {
            let address = layout::initiator_address(family, portal);
            outside += &format!("addr add {address}/{prefix} dev {here}\n");
            let address = layout::portal_address(family, portal);
            inside += &format!("addr add {address}/{prefix} dev {there}\n");
        }
        outside += &format!("link set {here} up\n");
        inside += &format!("link set {there} up\n");
    }
    ip_batch(&["-batch", "-"], &outside)?;
    ip_batch(&["-netns", "target", "-batch", "-"], &inside)
}

fn ip_batch(arguments: &[&str], lines: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut ip = Command::new("ip");
    let mut child = ip.args(arguments).stdin(Stdio::piped()).spawn().context(|| "cannot start ip")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes()).context(|| "cannot write to ip")?;
    }
    let status = child.wait().context(|| "cannot wait for ip")?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new("ip could not make the networks, see the console"))
    }
}

/// No cold plug: the two disks of the guest need no links, and what iSCSI brings has its own events.
fn start_udevd() -> Result<(), Failure> {
    fs::write(SYSTEMD_RUN, include_str!("systemd-run.sh"))
        .and_then(|()| fs::set_permissions(SYSTEMD_RUN, Permissions::from_mode(0o755)))
        .context(|| format!("cannot make {SYSTEMD_RUN}"))?;
    run(&["/lib/systemd/systemd-udevd", "--daemon"])?;
    wait_for("udevd's control socket", || std::path::Path::new("/run/udev/control").exists())
}

/// Sets the target up in a thread that lives in the target's namespace, and ends there.
fn set_up_target(spec: &Spec) -> Result<(), Failure> {
    let namespace = File::open(TARGET_NAMESPACE).context(|| format!("cannot open {TARGET_NAMESPACE}"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context(|| "cannot enter the target's network namespace")?;
    target::set_up(spec)
}
