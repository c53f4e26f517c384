//! LIO straight through configfs: no targetcli, no Python.
//!
//! `/sys/kernel/config/target/core/fileio_0/volN` is a backstore, `/sys/kernel/config/target/iscsi/IQN/tpgt_1`
//! a target; a LUN is a folder with a link to a backstore. The process that makes a portal's folder
//! decides the network namespace that LIO listens in, so this is called in the target's.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lab_wire::{Context, Failure, Spec};

use crate::layout::{self, VOLUME_SIZE};

const CORE: &str = "/sys/kernel/config/target/core/fileio_0";
const ISCSI: &str = "/sys/kernel/config/target/iscsi";
/// The volumes' files: sparse, in memory.
const FILES: &str = "/run/volumes";

/// Makes the volumes, the targets and their portals, as the spec wishes.
pub fn set_up(spec: &Spec) -> Result<(), Failure> {
    make_folder(Path::new(FILES))?;
    for folder in [CORE, ISCSI] {
        make_folder(Path::new(folder))?;
    }
    for volume in 1..=spec.volumes {
        make_backstore(volume)?;
    }
    for iqn in layout::iqns(spec) {
        make_target(&iqn)?;
    }
    for volume in 1..=spec.volumes {
        map(spec, volume, volume)?;
    }
    for portal in 1..=spec.portals {
        let group = group(&layout::iqn(spec.backend, portal));
        make_folder(&group.join(format!("np/{}:{}", layout::portal_address(portal), layout::PORT)))?;
    }
    layout::iqns(spec).iter().try_for_each(|iqn| write(&group(iqn).join("enable"), "1"))
}

/// Offers the volume at this LUN, through every target.
pub fn map(spec: &Spec, volume: u16, lun: u16) -> Result<(), Failure> {
    let backstore = backstore(spec, volume)?;
    for iqn in layout::iqns(spec) {
        let folder = group(&iqn).join(format!("lun/lun_{lun}"));
        fs::create_dir(&folder).context(|| format!("cannot map: LUN {lun} of {iqn} is in use"))?;
        symlink(&backstore, folder.join(link_name(volume)))
            .context(|| format!("cannot map volume {volume} at LUN {lun} of {iqn}"))?;
    }
    Ok(())
}

/// Takes the volume away, at whatever LUN it is.
pub fn unmap(spec: &Spec, volume: u16) -> Result<(), Failure> {
    backstore(spec, volume)?;
    let mut found = false;
    for iqn in layout::iqns(spec) {
        let luns = group(&iqn).join("lun");
        let entries = fs::read_dir(&luns).context(|| format!("cannot read {}", luns.display()))?;
        for folder in entries.flatten().map(|entry| entry.path()) {
            let link = folder.join(link_name(volume));
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link).context(|| format!("cannot remove {}", link.display()))?;
                fs::remove_dir(&folder).context(|| format!("cannot remove {}", folder.display()))?;
                found = true;
            }
        }
    }
    if found { Ok(()) } else { Err(Failure::new(format!("volume {volume} is not mapped"))) }
}

/// Changes the volume's size. LIO says nothing of it to the initiator: it finds out when it asks.
pub fn resize(spec: &Spec, volume: u16, size: u64) -> Result<(), Failure> {
    let backstore = backstore(spec, volume)?;
    set_length(&file(volume), size)?;
    write(&backstore.join("control"), &format!("fd_dev_size={size}"))
}

fn make_backstore(volume: u16) -> Result<(), Failure> {
    let file = file(volume);
    set_length(&file, VOLUME_SIZE)?;
    let folder = Path::new(CORE).join(link_name(volume));
    make_folder(&folder)?;
    let control = format!("fd_dev_name={},fd_dev_size={VOLUME_SIZE}", file.display());
    write(&folder.join("control"), &control)?;
    write(&folder.join("wwn/vpd_unit_serial"), &layout::serial(volume))?;
    write(&folder.join("enable"), "1")
}

/// A target that lets every initiator in and write.
fn make_target(iqn: &str) -> Result<(), Failure> {
    let group = group(iqn);
    make_folder(&group)?;
    for (attribute, value) in
        [("generate_node_acls", "1"), ("authentication", "0"), ("demo_mode_write_protect", "0")]
    {
        write(&group.join("attrib").join(attribute), value)?;
    }
    Ok(())
}

/// The backstore of a volume that exists.
fn backstore(spec: &Spec, volume: u16) -> Result<PathBuf, Failure> {
    if volume == 0 || volume > spec.volumes {
        return Err(Failure::new(format!(
            "there is no volume {volume}: this target has 1 to {}",
            spec.volumes
        )));
    }
    Ok(Path::new(CORE).join(link_name(volume)))
}

fn group(iqn: &str) -> PathBuf {
    Path::new(ISCSI).join(iqn).join("tpgt_1")
}

fn link_name(volume: u16) -> String {
    format!("vol{volume}")
}

fn file(volume: u16) -> PathBuf {
    Path::new(FILES).join(link_name(volume))
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).context(|| format!("cannot make {}", path.display()))
}

fn write(path: &Path, value: &str) -> Result<(), Failure> {
    fs::write(path, value).context(|| format!("cannot write `{value}` to {}", path.display()))
}

fn set_length(path: &Path, size: u64) -> Result<(), Failure> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.and_then(|file| file.set_len(size)).context(|| format!("cannot give {} its size", path.display()))
}
