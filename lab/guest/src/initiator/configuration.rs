//! What a script may change of the initiator's configuration, and the way back to Debian's.

use std::fs;
use std::io::{self, Write};
use std::str::FromStr;

use lab_wire::{Context, Failure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use super::leftovers::node_folder;
use crate::layout::STATE;

const MULTIPATH: &str = "/etc/multipath.conf";

/// One of multipath's settings, `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    key: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no setting: write find_multipaths=yes");
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c == '"' || c.is_control());
        match is_word(key) && is_word(value) && !key.contains(' ') {
            true => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            false => Err(wrong()),
        }
    }
}

/// Writes these defaults, instead of those of an earlier call.
pub fn configure_multipath(settings: &[Setting]) -> Result<(), Failure> {
    let lines = settings.iter().map(|Setting { key, value }| format!("    {key} \"{value}\"\n"));
    let text = format!("defaults {{\n{}}}\n", lines.collect::<String>());
    fs::write(MULTIPATH, text).context(|| format!("cannot write {MULTIPATH}"))
}

/// Removes multipath's configuration, and says whether there was one: its daemon has to be told.
pub fn unconfigure_multipath() -> Result<bool, Failure> {
    match fs::remove_file(MULTIPATH) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(|| format!("cannot remove {MULTIPATH}")),
    }
}

/// Makes the folder of the node records read-only.
pub fn records_read_only() -> Result<(), Failure> {
    let nodes = folder_of_nodes()?;
    mount_bind(&nodes, &nodes).context(|| format!("cannot bind {nodes} to itself"))?;
    mount_remount(&nodes, MountFlags::BIND | MountFlags::RDONLY, "")
        .context(|| format!("cannot make {nodes} read-only"))
}

/// Puts the node records on a file system that has not a byte left. What fills it lies beside their folder, where
/// open-iscsi does not look.
pub fn records_full() -> Result<(), Failure> {
    let whole = format!("{STATE}/full");
    let records = format!("{whole}/nodes");
    make_folder(&whole)?;
    let options = c"size=64k";
    mount("tmpfs", whole.as_str(), "tmpfs", MountFlags::empty(), options)
        .context(|| format!("cannot mount {whole}"))?;
    make_folder(&records)?;
    let nodes = folder_of_nodes()?;
    let filler = format!("{whole}/filler");
    let mut file = fs::File::create(&filler).context(|| format!("cannot make {filler}"))?;
    let page = [0; 4096];
    let full = (0..64).find_map(|_| file.write_all(&page).err());
    match full {
        Some(error) if error.kind() == io::ErrorKind::StorageFull => {}
        Some(error) => return Err(error).context(|| format!("cannot fill {whole}")),
        None => return Err(Failure::new(format!("{whole} is never full"))),
    }
    mount_bind(&records, &nodes).context(|| format!("cannot bind {records}"))
}

/// The node records as they are on the disk, writable.
pub fn records_as_they_were() -> Result<(), Failure> {
    for place in [node_folder().display().to_string(), format!("{STATE}/full")] {
        while is_mounted(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), &place) {
            unmount(place.as_str(), UnmountFlags::DETACH).context(|| format!("cannot unmount {place}"))?;
        }
    }
    Ok(())
}

/// Whether the text of `/proc/self/mounts` has something mounted there.
fn is_mounted(mounts: &str, place: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(place))
}

/// The folder of the node records, which only the first record makes.
fn folder_of_nodes() -> Result<String, Failure> {
    let nodes = node_folder().display().to_string();
    make_folder(&nodes)?;
    Ok(nodes)
}

fn make_folder(path: &str) -> Result<(), Failure> {
    fs::create_dir_all(path).context(|| format!("cannot make {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let setting: Setting = "find_multipaths=yes".parse().unwrap();
        assert_eq!((setting.key.as_str(), setting.value.as_str()), ("find_multipaths", "yes"));
        assert!("path_selector=round-robin 0".parse::<Setting>().is_ok());
        for wrong in ["find_multipaths", "=yes", "a=", "a=\"b\"", "a b=c", "a=b\n}"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn mounts_are_known_by_their_place() {
        let mounts = "tmpfs /run tmpfs rw 0 0\n/dev/vda /etc/iscsi/nodes ext4 ro 0 0\n";
        assert!(is_mounted(mounts, "/etc/iscsi/nodes") && !is_mounted(mounts, "/etc/iscsi"));
    }
}
