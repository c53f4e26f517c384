//! Who has a block device open: for the sentence that refuses to detach it (D7).

use crate::host::{Host, HostError};
use crate::layers::{self, Layer};
use crate::names::{BlockName, DevNumber};
use crate::{scsi, sysfs};
use std::collections::BTreeSet;
use std::fmt;

/// Something that has a block device open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opener {
    /// A process, by an open descriptor.
    Process {
        /// Its id.
        pid: u32,
        /// Its command name (`comm`).
        command: String,
    },
    /// A worker of udev, or a program that one of its rules has started (blkid, kpartx, lvm, …).
    Udev {
        /// Its id.
        pid: u32,
        /// Its command name.
        command: String,
    },
    /// A mounted file system.
    Mount {
        /// Where.
        point: String,
    },
    /// A block device stacked upon it (LVM, crypt, a partition's map).
    Holder(Layer),
    /// Swap space.
    Swap,
}

/// Programs that open a device for a moment, by their names (`comm`).
const PASSERS_BY: &[&str] = &[
    "multipathd",
    "bowline-helper",
    "lvm",
    "pvscan",
    "pvs",
    "vgs",
    "lvs",
    "vgscan",
    "lvscan",
    "vgchange",
    "lvchange",
];

impl Opener {
    /// Whether it passes by: udev, multipathd, LVM's commands (also those that systemd runs for udev), and our own
    /// helper, which closes as soon as the kernel lets it. They read and close again by themselves; what LVM's leave
    /// behind is a logical volume, which is a holder.
    pub fn passes_by(&self) -> bool {
        match self {
            Self::Udev { .. } => true,
            Self::Process { command, .. } => PASSERS_BY.contains(&command.as_str()),
            _ => false,
        }
    }
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } | Self::Udev { pid, command } => {
                write!(f, "process {pid} ({command})")
            }
            Self::Mount { point } => write!(f, "mounted at {point}"),
            Self::Holder(layer) => write!(f, "{layer} upon it"),
            Self::Swap => write!(f, "swap space"),
        }
    }
}

/// Everything found that has the device or one of its partitions open: descriptors in /proc/PID/fd (by the
/// names of its nodes, `/dev/mapper/NAME` too), mounts (by number or source, in every mount namespace), holders
/// and swap. In order, each once. This process is left out; a process of bowline's helper is not. Best effort:
/// a process that ends meanwhile, or may not be looked at, is passed over. None when the number is no longer
/// this device's.
///
/// # Errors
/// sysfs or /proc cannot be read.
pub fn openers_of(host: &dyn Host, name: &BlockName, number: DevNumber) -> Result<Vec<Opener>, HostError> {
    let Some(device) = scsi::block_device(host, name)?.filter(|device| device.number == number) else {
        return Ok(Vec::new());
    };
    let meant = Meant::of(host, &device)?;
    let mut openers = BTreeSet::new();
    for holder in &device.holders {
        if let Some(block) = scsi::block_device(host, holder)? {
            openers.insert(Opener::Holder(layers::layer(host, &block)?));
        }
    }
    let processes = sysfs::processes(host)?;
    descriptors(host, &meant, &processes, &mut openers);
    mounts(host, &meant, &processes, &mut openers);
    if let Some(swaps) = text(host, "/proc/swaps") {
        let is_ours =
            |line: &str| line.split_whitespace().next().is_some_and(|file| meant.has_node(&unescaped(file)));
        if swaps.lines().skip(1).any(is_ours) {
            openers.insert(Opener::Swap);
        }
    }
    Ok(openers.into_iter().collect())
}

/// The device and its partitions, by number and by node.
struct Meant {
    numbers: Vec<DevNumber>,
    nodes: Vec<String>,
}

impl Meant {
    fn of(host: &dyn Host, device: &scsi::BlockDevice) -> Result<Self, HostError> {
        let mut meant = Self { numbers: vec![device.number], nodes: vec![device.name.device_node()] };
        if let Some(alias) = sysfs::attribute(host, &format!("/sys/class/block/{}/dm/name", device.name))? {
            meant.nodes.push(format!("/dev/mapper/{alias}"));
        }
        for part in &device.partitions {
            let number = sysfs::attribute(host, &format!("/sys/class/block/{part}/dev"))?;
            meant.numbers.extend(number.and_then(|text| text.parse::<DevNumber>().ok()));
            meant.nodes.push(part.device_node());
        }
        Ok(meant)
    }

    fn has_node(&self, node: &str) -> bool {
        // The kernel marks a node that was unlinked while open.
        let node = node.strip_suffix(" (deleted)").unwrap_or(node);
        self.nodes.iter().any(|ours| ours == node)
    }
}

fn descriptors(host: &dyn Host, meant: &Meant, processes: &[u32], openers: &mut BTreeSet<Opener>) {
    for pid in processes.iter().copied().filter(|pid| *pid != host.process_id()) {
        let folder = format!("/proc/{pid}/fd");
        let has_it =
            |fd: &String| host.read_link(&format!("{folder}/{fd}")).is_ok_and(|node| meant.has_node(&node));
        if host.list(&folder).unwrap_or_default().iter().any(has_it)
            && let Some(command) = text(host, &format!("/proc/{pid}/comm"))
        {
            let command = command.trim().to_owned();
            openers.insert(match is_of_udev(host, pid) {
                true => Opener::Udev { pid, command },
                false => Opener::Process { pid, command },
            });
        }
    }
}

/// Whether a process is udev's or stems from it: a rule's program may itself start others, but not many deep.
/// The daemon is `systemd-udevd`, a worker `(udev-worker)` (systemd 252) or like the daemon (before 251).
fn is_of_udev(host: &dyn Host, pid: u32) -> bool {
    let mut pid = pid;
    for _ in 0..5 {
        let Some(stat) = text(host, &format!("/proc/{pid}/stat")) else { return false };
        let Some((command, parent)) = name_and_parent(&stat) else { return false };
        if matches!(command, "systemd-udevd" | "(udev-worker)" | "udevd") {
            return true;
        }
        pid = parent;
    }
    false
}

/// `PID (COMM) STATE PPID …`; the name may hold anything, so it ends at the last parenthesis.
fn name_and_parent(stat: &str) -> Option<(&str, u32)> {
    let (front, rest) = stat.rsplit_once(") ")?;
    let (_, command) = front.split_once(" (")?;
    Some((command, rest.split(' ').nth(1)?.parse().ok()?))
}

/// One mountinfo of each mount namespace: to read it of every process would cost more than all the rest.
fn mounts(host: &dyn Host, meant: &Meant, processes: &[u32], openers: &mut BTreeSet<Opener>) {
    let mut seen = BTreeSet::new();
    for pid in std::iter::once(host.process_id()).chain(processes.iter().copied()) {
        let Ok(namespace) = host.read_link(&format!("/proc/{pid}/ns/mnt")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        if let Some(table) = text(host, &format!("/proc/{pid}/mountinfo")) {
            openers.extend(mount_points(&table, meant).map(|point| Opener::Mount { point }));
            seen.insert(namespace);
        }
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS… - TYPE SOURCE …` (Linux 6.1 Documentation/filesystems/proc.rst).
/// The source counts too: btrfs mounts under a number of its own.
fn mount_points<'a>(table: &'a str, meant: &'a Meant) -> impl Iterator<Item = String> + 'a {
    table.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?.parse::<DevNumber>().ok()?;
        let point = fields.nth(1)?;
        let source = fields.skip_while(|field| *field != "-").nth(2);
        let is_ours = meant.numbers.contains(&number)
            || source.is_some_and(|source| meant.has_node(&unescaped(source)));
        is_ours.then(|| unescaped(point))
    })
}

/// Text in which the kernel has written space, tab, newline and backslash as `\ooo` (`seq_path`).
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten().and_then(|digits| {
            u8::from_str_radix(std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?, 8).ok()
        });
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(host: &dyn Host, path: &str) -> Option<String> {
    host.read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[path = "openers_tests.rs"]
mod tests;
