//! tgt: a daemon in the target's namespace, told what to do by `tgtadm`.
//!
//! Its portals serve all its targets, so where each portal has a target of its own, that target admits only the
//! initiator's address on that portal's network. LUN 0 of every target is a controller, made by tgt itself.

use std::fs::File;
use std::process::{Command, Stdio};

use lab_wire::{Backend, Context, Failure, Spec};

use super::chap::Chap;
use super::volumes;
use crate::daemons::wait_for;
use crate::layout::{self, VOLUME_SIZE};
use crate::program::run_line;

const LOG: &str = "/var/log/tgtd.log";

/// Starts the daemon, and makes volumes and targets.
pub fn set_up(spec: &Spec) -> Result<(), Failure> {
    let portals: Vec<String> =
        (1..=spec.portals).map(|portal| format!("portal={}", layout::listens(spec, portal))).collect();
    let log = File::create(LOG).context(|| format!("cannot make {LOG}"))?;
    let mut tgtd = Command::new("tgtd");
    tgtd.args(["-f", "--nr_iothreads", "2", "--iscsi", &portals.join(",")])
        .current_dir("/")
        .stdin(Stdio::null());
    let said = log.try_clone().context(|| format!("cannot share {LOG}"))?;
    tgtd.stdout(said).stderr(log).spawn().context(|| "cannot start tgtd")?;
    wait_for("tgtd to answer", || admin("--op show --mode system").is_ok())?;
    for (tid, iqn) in targets(spec) {
        admin(&format!("--op new --mode target --tid {tid} --targetname {iqn}"))?;
    }
    for volume in 1..=spec.volumes {
        volumes::set_size(volume, VOLUME_SIZE)?;
        map(spec, volume, volume)?;
    }
    // Last, so that no login can come before there is something to find.
    for (tid, _) in targets(spec) {
        let admitted = match spec.backend {
            Backend::OneIqn => "ALL".to_owned(),
            Backend::IqnPerPortal => layout::initiator_address(spec.family, tid).to_string(),
        };
        admin(&format!("--op bind --mode target --tid {tid} --initiator-address {admitted}"))?;
    }
    Ok(())
}

/// Offers the volume at this LUN, through every target, under one identity.
pub fn map(spec: &Spec, volume: u16, lun: u16) -> Result<(), Failure> {
    layout::known_volume(spec, volume)?;
    let file = volumes::file(volume);
    for (tid, _) in targets(spec) {
        let unit = format!("--mode logicalunit --tid {tid} --lun {lun}");
        admin(&format!("--op new {unit} --backing-store {}", file.display()))?;
        let identity = format!("scsi_id={},scsi_sn={}", scsi_id(volume), layout::serial(volume));
        admin(&format!("--op update {unit} --params {identity},{}", caching(false)))?;
    }
    Ok(())
}

/// Takes the volume away, at whatever LUN it is.
pub fn unmap(spec: &Spec, volume: u16) -> Result<(), Failure> {
    each_unit(spec, volume, |unit| admin(&format!("--op delete {unit}")))
}

/// Changes the volume's size: tgt learns of it when the unit is given its file anew.
pub fn resize(spec: &Spec, volume: u16, size: u64) -> Result<(), Failure> {
    layout::known_volume(spec, volume)?;
    volumes::set_size(volume, size)?;
    let file = volumes::file(volume);
    each_unit(spec, volume, |unit| {
        admin(&format!("--op update {unit} --params online=0"))?;
        admin(&format!("--op update {unit} --params path={}", file.display()))?;
        admin(&format!("--op update {unit} --params online=1"))
    })
}

/// Asks for CHAP, or no more.
pub fn set_chap(spec: &Spec, chap: Chap) -> Result<(), Failure> {
    // Deleting an account takes it from the targets too.
    for account in [Chap::Mutual.initiator(), Chap::Mutual.target()].into_iter().flatten() {
        let _ = admin(&format!("--op delete --mode account --user {}", account.user));
    }
    for (account, direction) in [(chap.initiator(), ""), (chap.target(), "--outgoing")] {
        let Some(account) = account else { continue };
        let (user, secret) = (account.user, account.secret);
        admin(&format!("--op new --mode account --user {user} --password {secret}"))?;
        for (tid, _) in targets(spec) {
            admin(&format!("--op bind --mode account --tid {tid} --user {user} {direction}"))?;
        }
    }
    Ok(())
}

/// Says whether the volume has a write-back cache.
pub fn set_cache(spec: &Spec, volume: u16, on: bool) -> Result<(), Failure> {
    each_unit(spec, volume, |unit| admin(&format!("--op update {unit} --params {}", caching(on))))
}

/// Protects the volumes from writing, or no more.
pub fn write_protect(spec: &Spec, on: bool) -> Result<(), Failure> {
    let readonly = u8::from(on);
    (1..=spec.volumes).try_for_each(|volume| {
        each_unit(spec, volume, |unit| admin(&format!("--op update {unit} --params readonly={readonly}")))
    })
}

/// The caching mode page, as tgt makes it at first but for the bit of the write-back cache.
fn caching(on: bool) -> String {
    let bits = if on { "0x14" } else { "0x10" };
    format!("mode_page=8:0:18:{bits}:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0")
}

/// Every target's number and name; the number is also that of its portal, where it has one of its own.
fn targets(spec: &Spec) -> Vec<(u8, String)> {
    (1..).zip(layout::iqns(spec)).collect()
}

/// A volume's identity. tgt reads the digits of its NAA name out of these sixteen.
fn scsi_id(volume: u16) -> String {
    format!("b0f1{volume:012x}")
}

fn each_unit(spec: &Spec, volume: u16, act: impl Fn(&str) -> Result<String, Failure>) -> Result<(), Failure> {
    layout::known_volume(spec, volume)?;
    let units = units(&admin("--op show --mode target")?, &scsi_id(volume));
    if units.is_empty() {
        return Err(Failure::new(format!("volume {volume} is not mapped")));
    }
    units
        .iter()
        .try_for_each(|(tid, lun)| act(&format!("--mode logicalunit --tid {tid} --lun {lun}")).map(drop))
}

/// The numbers of target and LUN of the units with this identity, in what `tgtadm --op show` prints.
fn units(shown: &str, id: &str) -> Vec<(u16, u16)> {
    let (mut tid, mut lun, mut found) = (0, 0, Vec::new());
    for line in shown.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Target ") {
            tid = rest.split(':').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        } else if let Some(number) = line.strip_prefix("LUN: ") {
            lun = number.parse().unwrap_or_default();
        } else if line.strip_prefix("SCSI ID: ").is_some_and(|shown| shown.trim() == id) {
            found.push((tid, lun));
        }
    }
    found
}

fn admin(line: &str) -> Result<String, Failure> {
    run_line(&format!("tgtadm --lld iscsi {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_wherever_it_is() {
        let shown = "Target 1: iqn.x\n    LUN information:\n        LUN: 0\n            Type: controller\n\
                     \x20           SCSI ID: IET     00010000\n        LUN: 7\n            Type: disk\n\
                     \x20           SCSI ID: b0f1000000000003\n\
                     Target 2: iqn.y\n        LUN: 9\n            SCSI ID: b0f1000000000003\n";
        assert_eq!(units(shown, &scsi_id(3)), [(1, 7), (2, 9)]);
        assert!(units(shown, &scsi_id(4)).is_empty());
    }
}
