//! Who has a block device open: for the sentence that refuses to detach it (D7).

use crate::host::{Host, HostError};
use crate::layers::{self, Layer};
use crate::names::{BlockName, DevNumber, Hctl};
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
    /// A loop device over it. The kernel links it nowhere, and no process has anything open for it.
    Loop {
        /// Its kernel name.
        name: String,
        /// What it says to be over: the path of the node that it was given.
        backing: String,
    },
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
            Self::Loop { name, backing } => write!(f, "loop device {name} (backing file {backing})"),
            Self::Swap => write!(f, "swap space"),
        }
    }
}

/// Everything found that has the device or one of its partitions open: descriptors in /proc/PID/fd (by number, whatever the
/// node they were opened by), mounts (by number or source, in every mount namespace), holders, loop devices and swap. In
/// order, each once. This process is left out; a process of bowline's helper is not. Best effort: a process that
/// ends meanwhile, or may not be looked at, is passed over. None when the number is no longer this device's.
///
/// # Errors
/// sysfs or /proc cannot be read.
pub fn openers_of(host: &dyn Host, name: &BlockName, number: DevNumber) -> Result<Vec<Opener>, HostError> {
    Ok(openers_of_each(host, &[(name.clone(), number)])?.pop().unwrap_or_default())
}

/// The same of several devices, in their order. /proc is read once for all of them: where many programs run, which is when many
/// devices come in, that takes a third of a second.
///
/// # Errors
/// As [`openers_of`].
fn openers_of_each(
    host: &dyn Host,
    devices: &[(BlockName, DevNumber)],
) -> Result<Vec<Vec<Opener>>, HostError> {
    let mut all = Vec::new();
    for (name, number) in devices {
        all.push(match scsi::block_device(host, name)?.filter(|device| device.number == *number) {
            Some(device) => Sought::of(host, &device)?,
            None => Sought::default(),
        });
    }
    if all.iter().any(|sought| !sought.nodes.is_empty()) {
        let processes = sysfs::processes(host)?;
        descriptors(host, &mut all, &processes);
        let spaces = namespaces(host, &processes);
        loops(host, &mut all, &spaces)?;
        mounts(host, &mut all, &spaces);
        swaps(host, &mut all, &spaces);
    }
    Ok(all.into_iter().map(|sought| sought.openers.into_iter().collect()).collect())
}

/// A SCSI device, and who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedDisk {
    /// Its address.
    pub hctl: Hctl,
    /// Its disk; `None` before sd has attached, and where it is no disk.
    pub block: Option<BlockName>,
    /// Who uses it, without those that pass by.
    pub users: Vec<Opener>,
}

/// Who uses the disks at these addresses, in their order.
///
/// # Errors
/// As [`openers_of`].
pub fn users_of_disks(host: &dyn Host, addresses: &[Hctl]) -> Result<Vec<UsedDisk>, HostError> {
    let (mut disks, mut found) = (Vec::new(), Vec::new());
    for hctl in addresses {
        let block = scsi::device(host, *hctl)?.and_then(|device| device.block);
        disks.push(UsedDisk {
            hctl: *hctl,
            block: block.as_ref().map(|block| block.name.clone()),
            users: Vec::new(),
        });
        found.extend(block.map(|block| (block.name, block.number)));
    }
    let openers = openers_of_each(host, &found)?;
    for (disk, openers) in disks.iter_mut().filter(|disk| disk.block.is_some()).zip(openers) {
        disk.users = openers.into_iter().filter(|opener| !opener.passes_by()).collect();
    }
    Ok(disks)
}

/// A device and its partitions, by number and by node; who has them open, as far as that is known.
#[derive(Default)]
struct Sought {
    numbers: Vec<DevNumber>,
    nodes: Vec<String>,
    openers: BTreeSet<Opener>,
}

impl Sought {
    fn of(host: &dyn Host, device: &scsi::BlockDevice) -> Result<Self, HostError> {
        let (numbers, nodes) = (vec![device.number], vec![device.name.device_node()]);
        let mut sought = Self { numbers, nodes, openers: BTreeSet::new() };
        if let Some(alias) = sysfs::attribute(host, &format!("/sys/class/block/{}/dm/name", device.name))? {
            sought.nodes.push(format!("/dev/mapper/{alias}"));
        }
        for part in &device.partitions {
            let number = sysfs::attribute(host, &format!("/sys/class/block/{part}/dev"))?;
            sought.numbers.extend(number.and_then(|text| text.parse::<DevNumber>().ok()));
            sought.nodes.push(part.device_node());
        }
        for holder in &device.holders {
            if let Some(block) = scsi::block_device(host, holder)? {
                sought.openers.insert(Opener::Holder(layers::layer(host, &block)?));
            }
        }
        Ok(sought)
    }

    fn has_node(&self, node: &str) -> bool {
        // The kernel marks a node that was unlinked while open.
        let node = node.strip_suffix(" (deleted)").unwrap_or(node);
        self.nodes.iter().any(|ours| ours == node)
    }

    /// Whether a path that somebody else has named is a node of it, by name or by number. When in doubt it is.
    fn is_at(&self, path: &str, numbers: &[DevNumber]) -> bool {
        self.has_node(path) || numbers.iter().any(|number| self.numbers.contains(number))
    }
}

/// The numbers of the block devices at a path that somebody has named who may live in another mount namespace. What is a file here
/// is taken for what was meant: most loop devices are over one.
fn numbers_at(host: &dyn Host, path: &str, spaces: &[Space]) -> Vec<DevNumber> {
    let here = host.device_of(path);
    if matches!(here, Ok(None)) || !path.starts_with('/') {
        return Vec::new();
    }
    let elsewhere = spaces.iter().filter_map(|space| space.device_of(host, path));
    here.ok().flatten().into_iter().chain(elsewhere).collect()
}

fn descriptors(host: &dyn Host, all: &mut [Sought], processes: &[u32]) {
    for pid in processes.iter().copied().filter(|pid| *pid != host.process_id()) {
        let folder = format!("/proc/{pid}/fd");
        let (mut numbers, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for fd in host.list(&folder).unwrap_or_default() {
            let descriptor = format!("{folder}/{fd}");
            match host.device_of(&descriptor) {
                Ok(number) => numbers.extend(number),
                // Closed meanwhile; or a kernel or a sandbox that does not tell, where the name has to do.
                Err(_) => nodes.extend(host.read_link(&descriptor).ok()),
            }
        }
        let has_it = |sought: &&mut Sought| {
            sought.numbers.iter().any(|number| numbers.contains(number))
                || nodes.iter().any(|node| sought.has_node(node))
        };
        let held: Vec<&mut Sought> = all.iter_mut().filter(has_it).collect();
        if held.is_empty() {
            continue;
        }
        let Some(command) = text(host, &format!("/proc/{pid}/comm")) else { continue };
        let command = command.trim().to_owned();
        let opener = match is_of_udev(host, pid) {
            true => Opener::Udev { pid, command },
            false => Opener::Process { pid, command },
        };
        for sought in held {
            sought.openers.insert(opener.clone());
        }
    }
}

/// A loop device holds the file it is over inside the kernel (Linux 6.1 `drivers/block/loop.c` `loop_configure`: `fget`), and
/// tells the path by which that was opened (`loop_attr_backing_file_show`). Where no process's namespace has a node there any
/// more, nothing tells whether it is over a device at all.
fn loops(host: &dyn Host, all: &mut [Sought], spaces: &[Space]) -> Result<(), HostError> {
    for name in sysfs::list(host, "/sys/block")?.into_iter().filter(|name| name.starts_with("loop")) {
        // Absent where it is over nothing.
        let Some(backing) = text(host, &format!("/sys/block/{name}/loop/backing_file")) else { continue };
        let backing = backing.trim_end_matches('\n').to_owned();
        let numbers = numbers_at(host, &backing, spaces);
        for sought in all.iter_mut().filter(|sought| sought.is_at(&backing, &numbers)) {
            sought.openers.insert(Opener::Loop { name: name.clone(), backing: backing.clone() });
        }
    }
    Ok(())
}

fn swaps(host: &dyn Host, all: &mut [Sought], spaces: &[Space]) {
    let Some(table) = text(host, "/proc/swaps") else { return };
    let files = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    for file in files.map(unescaped) {
        let numbers = numbers_at(host, &file, spaces);
        for sought in all.iter_mut().filter(|sought| sought.is_at(&file, &numbers)) {
            sought.openers.insert(Opener::Swap);
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

/// A mount namespace, ours first.
struct Space {
    /// A process in it.
    pid: u32,
    /// That one's mountinfo.
    mounts: String,
}

impl Space {
    /// The number of the block device whose node a path is in it.
    fn device_of(&self, host: &dyn Host, path: &str) -> Option<DevNumber> {
        host.device_of(&format!("/proc/{}/root{path}", self.pid)).ok().flatten()
    }
}

/// One mountinfo of each mount namespace: to read it of every process would cost more than all the rest.
fn namespaces(host: &dyn Host, processes: &[u32]) -> Vec<Space> {
    let (mut seen, mut spaces) = (BTreeSet::new(), Vec::new());
    for pid in std::iter::once(host.process_id()).chain(processes.iter().copied()) {
        let Ok(namespace) = host.read_link(&format!("/proc/{pid}/ns/mnt")) else { continue };
        if seen.contains(&namespace) {
            continue;
        }
        if let Some(mounts) = text(host, &format!("/proc/{pid}/mountinfo")) {
            spaces.push(Space { pid, mounts });
            seen.insert(namespace);
        }
    }
    spaces
}

fn mounts(host: &dyn Host, all: &mut [Sought], spaces: &[Space]) {
    for space in spaces {
        for sought in &mut *all {
            let points: Vec<String> = mount_points(host, space, sought).collect();
            sought.openers.extend(points.into_iter().map(|point| Opener::Mount { point }));
        }
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS… - TYPE SOURCE …` (Linux 6.1 Documentation/filesystems/proc.rst).
/// The source counts too: btrfs mounts under a number of its own, whose major is 0.
fn mount_points<'a>(
    host: &'a dyn Host,
    space: &'a Space,
    sought: &'a Sought,
) -> impl Iterator<Item = String> + 'a {
    space.mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?.parse::<DevNumber>().ok()?;
        let point = fields.nth(1)?;
        let source = fields.skip_while(|field| *field != "-").nth(2);
        let is_source = |source: String| {
            let its_own = number.major == 0 && source.starts_with('/');
            sought.is_at(&source, its_own.then(|| space.device_of(host, &source)).flatten().as_slice())
        };
        let is_ours = sought.numbers.contains(&number) || source.map(unescaped).is_some_and(is_source);
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
