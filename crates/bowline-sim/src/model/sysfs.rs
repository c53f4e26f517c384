//! The files of the host as views of the objects: sysfs, /proc, udev's database, open-iscsi's and multipath's files.

use std::io;

use super::World;
use super::blocks::{Block, BlockId, EINVAL};
use super::disks::{Disk, DiskState};
use super::maps::Map;
use super::processes::Shown;
use super::sessions::{Session, SessionState};
use bowline_host::iscsi::DATABASE_LOCK;

/// What a read answers.
pub type View<T> = io::Result<T>;

fn absent<T>() -> View<T> {
    Err(io::ErrorKind::NotFound.into())
}

fn text(text: impl Into<String>) -> View<Vec<u8>> {
    Ok(text.into().into_bytes())
}

fn line(value: impl std::fmt::Display) -> View<Vec<u8>> {
    Ok(format!("{value}\n").into_bytes())
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

/// Reads a file.
pub fn read(world: &World, path: &str) -> View<Vec<u8>> {
    match parts(path).as_slice() {
        ["sys", "class", "iscsi_session", name, attribute] => {
            session(world, name).map_or_else(absent, |session| of_session(session, attribute))
        }
        ["sys", "class", "iscsi_connection", name, attribute] => {
            connection(world, name).map_or_else(absent, |session| of_connection(world, session, attribute))
        }
        ["sys", "class", "scsi_device", hctl, "device", attribute] => {
            disk(world, hctl).map_or_else(absent, |disk| of_disk(world, disk, attribute))
        }
        ["sys", "class", "block", name, rest @ ..] => {
            world.block(name).map_or_else(absent, |block| of_block(world, &block, rest))
        }
        ["sys", "dev", "block", number, "dev"] => match numbered(world, number) {
            Some(_) => line(number),
            None => absent(),
        },
        ["run", "udev", "data", key] => udev_record(world, key),
        ["etc", "multipath", "wwids"] => {
            let lines: String = world.wwids.iter().map(|wwid| format!("/{wwid}/\n")).collect();
            text(format!("# Multipath wwids, Version : 1.0\n#\n# Valid WWIDs:\n{lines}"))
        }
        ["proc", "swaps"] => text("Filename\tType\tSize\tUsed\tPriority\n"),
        ["proc", pid, file] => of_process(world, pid, file),
        _ if path == DATABASE_LOCK => world.database.lock.clone().map_or_else(absent, Ok),
        _ => world.database.files.get(path).cloned().map_or_else(absent, Ok),
    }
}

/// Lists a directory.
pub fn list(world: &World, path: &str) -> View<Vec<String>> {
    let mut names: Vec<String> = match parts(path).as_slice() {
        ["sys", "class", "iscsi_session"] => {
            world.sessions.keys().map(|sid| format!("session{sid}")).collect()
        }
        ["sys", "class", "iscsi_session", _, "device", _, hctl] => match any_disk(world, hctl) {
            Some(_) => Vec::new(),
            None => return absent(),
        },
        ["sys", "class", "scsi_device"] => {
            let there = world.disks.values().filter(|disk| disk.state != DiskState::Going);
            there.map(|disk| format!("{}:0:0:{}", disk.host, disk.lun)).collect()
        }
        ["sys", "class", "scsi_device", hctl, "device", "block"] => match disk(world, hctl) {
            Some(disk) => match disk.name() {
                Some(name) => vec![name],
                None => return absent(),
            },
            None => return absent(),
        },
        ["sys", "class", "block", name] if world.block(name).is_some() => {
            ["dev", "holders", "ro", "size"].map(str::to_owned).into()
        }
        ["sys", "class", "block", name, "holders"] => match world.block(name).map(|block| block.id) {
            Some(BlockId::Disk(disk)) => {
                world.maps_upon(disk).map(|map| format!("dm-{}", map.minor)).collect()
            }
            Some(BlockId::Map(_)) => Vec::new(),
            None => return absent(),
        },
        ["proc"] => world.processes.keys().map(ToString::to_string).collect(),
        ["proc", pid] => match process(world, pid) {
            Some(_) => Vec::new(),
            None => return absent(),
        },
        ["proc", pid, "fd"] => match process(world, pid) {
            Some(process) => {
                let open = process.opens.len() + process.files.len();
                (0..open).map(|fd| (fd + 3).to_string()).collect()
            }
            None => return absent(),
        },
        _ => return list_database(world, path),
    };
    names.sort();
    Ok(names)
}

/// The node database: the names below a path. Its root is there before its first record.
fn list_database(world: &World, path: &str) -> View<Vec<String>> {
    if world.database.files.contains_key(path) {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut names: Vec<String> = Vec::new();
    for file in world.database.files.range(path.to_owned()..).map(|(file, _)| file) {
        let Some(rest) = file.strip_prefix(path) else { break };
        if let Some(name) = rest.strip_prefix('/').and_then(|rest| rest.split('/').next())
            && names.last().map(String::as_str) != Some(name)
        {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() && path != world.setup.nodes { absent() } else { Ok(names) }
}

/// Where a link leads.
pub fn read_link(world: &World, path: &str) -> View<String> {
    match parts(path).as_slice() {
        ["sys", "class", "iscsi_session", name] => match session(world, name) {
            Some(session) => {
                let (host, sid) = (session.host, session.sid);
                Ok(format!("../../devices/platform/host{host}/session{sid}/iscsi_session/session{sid}"))
            }
            None => absent(),
        },
        ["sys", "dev", "block", number] => match numbered(world, number) {
            Some(block) => world.devpath(block.id).map_or_else(absent, |path| Ok(format!("../..{path}"))),
            None => absent(),
        },
        ["dev", "mapper", name] => {
            let map = world.maps.values().find(|map| map.name == *name && map.link);
            map.map_or_else(absent, |map| Ok(format!("../dm-{}", map.minor)))
        }
        ["proc", pid, "ns", "mnt"] if process(world, pid).is_some() => Ok("mnt:[4026531840]".into()),
        ["proc", pid, "fd", fd] => Ok(match opened(world, pid, fd)? {
            Opened::Device(Some(block)) => format!("/dev/{}", block.name),
            Opened::Device(None) => "/dev/gone (deleted)".into(),
            Opened::File(file) => file,
        }),
        // A device node is no link.
        ["dev", _] => Err(io::Error::from_raw_os_error(EINVAL)),
        _ => absent(),
    }
}

/// The block device that a descriptor is of. One that is gone keeps a number that nobody else has.
pub fn device_of(world: &World, path: &str) -> View<Option<(u32, u32)>> {
    match parts(path).as_slice() {
        ["proc", pid, "fd", fd] => Ok(match opened(world, pid, fd)? {
            Opened::Device(block) => block.map(|block| block.number),
            Opened::File(_) => None,
        }),
        _ => absent(),
    }
}

/// What a descriptor is of.
enum Opened {
    /// A block device, as long as it exists.
    Device(Option<Block>),
    /// A file.
    File(String),
}

fn opened(world: &World, pid: &str, fd: &str) -> View<Opened> {
    let Some(process) = process(world, pid) else { return absent() };
    let at = fd.parse::<usize>().ok().and_then(|fd| fd.checked_sub(3));
    let file = at.and_then(|at| process.files.get(at.checked_sub(process.opens.len())?));
    if let Some(file) = file {
        return Ok(Opened::File(file.clone()));
    }
    match at.and_then(|at| process.opens.get(at)) {
        Some((block, Shown::Yes)) => Ok(Opened::Device(world.blocks().find(|found| found.id == *block))),
        _ => absent(),
    }
}

fn session<'a>(world: &'a World, name: &str) -> Option<&'a Session> {
    world.sessions.get(&name.strip_prefix("session")?.parse().ok()?)
}

fn connection<'a>(world: &'a World, name: &str) -> Option<&'a Session> {
    world.sessions.get(&name.strip_prefix("connection")?.strip_suffix(":0")?.parse().ok()?)
}

/// The SCSI device of a disk goes first (findings: "A disk outlives its SCSI device").
fn disk<'a>(world: &'a World, hctl: &str) -> Option<&'a Disk> {
    any_disk(world, hctl).filter(|disk| disk.state != DiskState::Going)
}

fn any_disk<'a>(world: &'a World, hctl: &str) -> Option<&'a Disk> {
    let mut parts = hctl.split(':');
    let host = parts.next()?.parse().ok()?;
    world.disk_at(host, parts.nth(2)?.parse().ok()?)
}

fn process<'a>(world: &'a World, pid: &str) -> Option<&'a super::Process> {
    world.processes.get(&pid.parse().ok()?)
}

fn numbered(world: &World, number: &str) -> Option<Block> {
    let (major, minor) = number.split_once(':')?;
    let number = (major.parse().ok()?, minor.parse().ok()?);
    world.blocks().find(|block| block.number == number)
}

/// Linux 6.1 `drivers/scsi/scsi_transport_iscsi.c`.
fn of_session(session: &Session, attribute: &str) -> View<Vec<u8>> {
    match attribute {
        "targetname" => line(&session.iqn),
        "ifacename" => line("default"),
        "tpgt" => line(1),
        "recovery_tmo" => line(session.recovery.as_secs()),
        "state" => line(match session.state {
            SessionState::Free => "FREE",
            SessionState::LoggedIn => "LOGGED_IN",
            SessionState::Failed if session.offline => "FREE",
            SessionState::Failed => "FAILED",
        }),
        _ => absent(),
    }
}

fn of_connection(world: &World, session: &Session, attribute: &str) -> View<Vec<u8>> {
    match attribute {
        "persistent_address" | "address" => line(world.address(session.portal)),
        "persistent_port" => line(3260),
        _ => absent(),
    }
}

/// Linux 6.1 `drivers/scsi/scsi_sysfs.c`.
fn of_disk(world: &World, disk: &Disk, attribute: &str) -> View<Vec<u8>> {
    let volume = &world.storage.volumes[disk.volume];
    let session = world.sessions.get(&disk.sid).map(|session| session.state);
    match attribute {
        "state" => line(match disk.state {
            DiskState::Running if session == Some(SessionState::Failed) => "blocked",
            DiskState::Running => "running",
            DiskState::TransportOffline => "transport-offline",
            DiskState::Going => "cancel",
        }),
        "type" => line(0),
        "vendor" => text("LIO-ORG \n"),
        "model" => text("volume          \n"),
        "vpd_pg83" => Ok(volume.page83()),
        "wwid" => line(format_args!("naa.{}", volume.naa)),
        _ => absent(),
    }
}

fn of_block(world: &World, block: &Block, rest: &[&str]) -> View<Vec<u8>> {
    let map = || match block.id {
        BlockId::Map(id) => world.maps.get(&id),
        BlockId::Disk(_) => None,
    };
    let of_map = |value: fn(&Map) -> String| map().map_or_else(absent, |map| line(value(map)));
    match rest {
        ["dev"] => line(format_args!("{}:{}", block.number.0, block.number.1)),
        ["size"] => line(block.sectors),
        ["ro"] => line(u8::from(world.is_read_only(block.id))),
        ["dm", "name"] => of_map(|map| map.name.clone()),
        ["dm", "uuid"] => of_map(|map| format!("mpath-{}", map.wwid)),
        _ => absent(),
    }
}

/// Lines as in testdata/udev/252.
fn udev_record(world: &World, key: &str) -> View<Vec<u8>> {
    let number = key.strip_prefix('b').and_then(|number| number.split_once(':'));
    let number = number.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let Some(record) = number.and_then(|number: (u32, u32)| world.udev.records.get(&number)) else {
        return absent();
    };
    let mut lines = String::from("I:53214876\n");
    if let Some(serial) = &record.serial {
        lines += &format!("E:ID_SCSI=1\nE:ID_SERIAL={serial}\nE:ID_BUS=scsi\n");
    }
    if record.claimed {
        lines += "E:DM_MULTIPATH_DEVICE_PATH=1\n";
    }
    if let Some(ready) = record.ready {
        lines += &format!("E:DM_SUSPENDED=0\nE:MPATH_DEVICE_READY={}\n", u8::from(ready));
    }
    text(lines)
}

fn of_process(world: &World, pid: &str, file: &str) -> View<Vec<u8>> {
    let Some(found) = process(world, pid) else { return absent() };
    match file {
        "comm" => line(&found.command),
        "cmdline" => {
            let words = std::iter::once(format!("/usr/sbin/{}", found.command));
            // iscsiadm takes its portal apart where it lies (findings: "iscsiadm's command line is not what it was given").
            let apart =
                |(at, arg): (usize, &String)| match at.checked_sub(1).map(|at| found.args[at].as_str()) {
                    Some("-p") => {
                        arg.rsplit_once(':').map_or(arg.clone(), |(host, port)| format!("{host}\0{port}"))
                    }
                    _ => arg.clone(),
                };
            let args = found.args.iter().enumerate().map(apart);
            text(words.chain(args).map(|word| word + "\0").collect::<String>())
        }
        "stat" => line(format_args!("{pid} ({}) S {} 0 0", found.command, found.parent)),
        "mountinfo" => text("21 1 252:1 / / rw - ext4 /dev/vda1 rw\n"),
        _ => absent(),
    }
}
