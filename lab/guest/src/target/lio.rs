//! LIO straight through configfs: no targetcli, no Python.
//!
//! `/sys/kernel/config/target/core/fileio_0/volN` is a backstore, `/sys/kernel/config/target/iscsi/IQN/tpgt_1`
//! a target; a LUN is a folder with a link to a backstore. The process that makes a portal's folder
//! decides the network namespace that LIO listens in, so this is called in the target's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lab_wire::{Context, Failure, Spec};

use super::chap::Chap;
use super::volumes;
use crate::layout::{self, VOLUME_SIZE};

const CORE: &str = "/sys/kernel/config/target/core/fileio_0";
const ISCSI: &str = "/sys/kernel/config/target/iscsi";

/// Makes the volumes, the targets and their portals, as the spec wishes.
pub fn set_up(spec: &Spec) -> Result<(), Failure> {
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
        make_folder(&group.join(format!("np/{}", layout::listens(spec, portal))))?;
    }
    layout::iqns(spec).iter().try_for_each(|iqn| write(&group(iqn).join("enable"), "1"))
}

/// Offers the volume at this LUN, through every target.
pub fn map(spec: &Spec, volume: u16, lun: u16) -> Result<(), Failure> {
    let backstore = backstore(spec, volume)?;
    for iqn in layout::iqns(spec) {
        let folder = group(&iqn).join(format!("lun/lun_{lun}"));
        fs::create_dir(&folder).context(|| format!("cannot map: LUN {lun} of {iqn} is in use"))?;
        symlink(&backstore, folder.join(volumes::name(volume)))
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
            let link = folder.join(volumes::name(volume));
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
    volumes::set_size(volume, size)?;
    write(&backstore.join("control"), &format!("fd_dev_size={size}"))
}

/// Asks for CHAP, or no more. With its access lists made by themselves, LIO takes the account of the target portal
/// group for every initiator (`iscsi_handle_authentication`: `tpg_demo_auth`).
pub fn set_chap(spec: &Spec, chap: Chap) -> Result<(), Failure> {
    // LIO's word for an account that is not set.
    const NONE: &str = "NULL";
    for iqn in layout::iqns(spec) {
        let auth = group(&iqn).join("auth");
        for (account, suffix) in [(chap.initiator(), ""), (chap.target(), "_mutual")] {
            let (user, secret) = account.map_or((NONE, NONE), |account| (account.user, account.secret));
            write(&auth.join(format!("userid{suffix}")), user)?;
            write(&auth.join(format!("password{suffix}")), secret)?;
        }
        let asked = if chap == Chap::Off { "0" } else { "1" };
        write(&group(&iqn).join("attrib/authentication"), asked)?;
    }
    Ok(())
}

/// Says whether the volume has a write-back cache.
pub fn set_cache(spec: &Spec, volume: u16, on: bool) -> Result<(), Failure> {
    write(&backstore(spec, volume)?.join("attrib/emulate_write_cache"), if on { "1" } else { "0" })
}

/// Protects the volumes from writing, or no more. With its access lists made by themselves, LIO takes this from the portal
/// group when it makes an initiator's list, and keeps the list (Linux 6.1 `core_tpg_add_node_to_devs`,
/// `iscsit_ta_generate_node_acls`): made by hand it is the same list, and removed by hand it goes.
pub fn write_protect(spec: &Spec, on: bool) -> Result<(), Failure> {
    for iqn in layout::iqns(spec) {
        let value = if on { "1" } else { "0" };
        write(&group(&iqn).join("attrib/demo_mode_write_protect"), value)?;
        let list = group(&iqn).join("acls").join(initiator_name()?);
        make_folder(&list)?;
        fs::remove_dir(&list).context(|| format!("cannot remove {}", list.display()))?;
    }
    Ok(())
}

fn initiator_name() -> Result<String, Failure> {
    const FILE: &str = "/etc/iscsi/initiatorname.iscsi";
    let text = fs::read_to_string(FILE).context(|| format!("cannot read {FILE}"))?;
    let name = text.lines().find_map(|line| line.strip_prefix("InitiatorName="));
    name.map(|name| name.trim().to_owned()).ok_or_else(|| Failure::new(format!("{FILE} has no name")))
}

fn make_backstore(volume: u16) -> Result<(), Failure> {
    volumes::set_size(volume, VOLUME_SIZE)?;
    let folder = Path::new(CORE).join(volumes::name(volume));
    make_folder(&folder)?;
    let control = format!("fd_dev_name={},fd_dev_size={VOLUME_SIZE}", volumes::file(volume).display());
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
    layout::known_volume(spec, volume)?;
    Ok(Path::new(CORE).join(volumes::name(volume)))
}

fn group(iqn: &str) -> PathBuf {
    Path::new(ISCSI).join(iqn).join("tpgt_1")
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).context(|| format!("cannot make {}", path.display()))
}

fn write(path: &Path, value: &str) -> Result<(), Failure> {
    fs::write(path, value).context(|| format!("cannot write `{value}` to {}", path.display()))
}
