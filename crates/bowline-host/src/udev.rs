//! udev's database, read where libudev reads it (`/run/udev/data`): what udev's rules found out about a device.

use crate::host::{Host, HostError};
use crate::names::{BlockName, DevNumber};
use crate::scsi;
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// udev's record of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UdevRecord {
    /// Whether udev has finished with its first event for the device (an `I:` line).
    pub initialized: bool,
    /// Its properties (`E:` lines).
    pub properties: BTreeMap<String, String>,
    /// Its links, absolute (`S:` lines with `/dev/` before them).
    pub links: Vec<String>,
}

/// The record of a block device; `None` when udev has none (yet, or any more). The file is replaced by a rename
/// (systemd 252 `src/libsystemd/sd-device/device-private.c` `device_update_db`), so it is read whole or not.
///
/// # Errors
/// It is there and cannot be read.
pub fn record_of(host: &dyn Host, number: DevNumber) -> Result<Option<UdevRecord>, HostError> {
    let path = format!("/run/udev/data/b{number}");
    match host.read(&path) {
        Ok(bytes) => Ok(Some(parse(&String::from_utf8_lossy(&bytes)))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::io("read", path, error)),
    }
}

/// Whether a link of a device that is gone still leads to where it was: nowhere, or to one that has got its name since and of which
/// udev knows no such link. While udev has events to deal with it may still take the link away ([`is_busy`]).
///
/// # Errors
/// What has got the name cannot be looked at.
pub fn is_forgotten(host: &dyn Host, link: &str, name: &BlockName) -> Result<bool, HostError> {
    // What is not there, or no link, is none of udev's.
    let Ok(target) = host.read_link(link) else { return Ok(false) };
    if target.rsplit('/').next() != Some(name.as_str()) {
        return Ok(false);
    }
    let Some(device) = scsi::block_device(host, name)? else { return Ok(true) };
    let record = record_of(host, device.number)?;
    Ok(!record.is_some_and(|record| record.links.iter().any(|known| known == link)))
}

/// Whether udev has an event that is not dealt with (systemd 252 `src/udev/udevd.c`, `event_queue_insert`).
pub fn is_busy(host: &dyn Host) -> bool {
    host.read("/run/udev/queue").is_ok()
}

/// Lines of a letter, a colon and a value; kinds we do not need (`L`, `W`, `G`, `Q`, `V`) are passed over.
fn parse(text: &str) -> UdevRecord {
    let mut record = UdevRecord::default();
    for (kind, value) in text.lines().filter_map(|line| line.split_once(':')) {
        match kind {
            "I" => record.initialized = true,
            "S" => record.links.push(format!("/dev/{value}")),
            "E" => {
                if let Some((key, value)) = value.split_once('=') {
                    record.properties.insert(key.into(), value.into());
                }
            }
            _ => {}
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;
    use proptest::prelude::*;

    const NUMBER: DevNumber = DevNumber { major: 8, minor: 16 };

    #[test]
    fn a_disk_as_udev_252_writes_it() {
        let host = FakeHost::default()
            .file("/run/udev/data/b8:16", include_str!("../../../testdata/udev/252/b8:16"));
        let record = record_of(&host, NUMBER).unwrap().unwrap();
        assert!(record.initialized);
        assert_eq!(record.properties["ID_SERIAL"], "36001405b2a3f1e9c0d84d6b8f7a1c2e3");
        assert!(record.links.contains(&"/dev/disk/by-id/wwn-0x6001405b2a3f1e9c0d84d6b8f7a1c2e3".to_owned()));
    }

    #[test]
    fn absent_is_none_and_unreadable_is_an_error() {
        assert_eq!(record_of(&FakeHost::default(), NUMBER).unwrap(), None);
        assert!(record_of(&FakeHost::default().error("/run/udev/data/b8:16", 13), NUMBER).is_err());
    }

    const LINK: &str = "/dev/disk/by-id/wwn-0x6001405b2a3f1e9c";

    fn leads_to_sdb() -> FakeHost {
        FakeHost::default().link(LINK, "../../sdb")
    }

    fn with_disk(host: FakeHost, record: &str) -> FakeHost {
        let file =
            |host: FakeHost, name: &str, text| host.file(&format!("/sys/class/block/sdb/{name}"), text);
        let host = [("dev", "8:16\n"), ("size", "2048\n"), ("ro", "0\n")]
            .into_iter()
            .fold(host, |host, (name, text)| file(host, name, text));
        host.file("/run/udev/data/b8:16", record)
    }

    fn forgotten(host: &FakeHost) -> bool {
        is_forgotten(host, LINK, &"sdb".parse().unwrap()).unwrap()
    }

    #[test]
    fn d9_a_link_that_leads_to_a_device_that_is_gone_is_forgotten() {
        assert!(forgotten(&leads_to_sdb()));
        assert!(
            forgotten(&with_disk(leads_to_sdb(), "I:1\nS:disk/by-id/wwn-0xother\n")),
            "another disk's name now"
        );
    }

    #[test]
    fn a_link_that_is_gone_or_another_device_s_is_not_forgotten() {
        assert!(!forgotten(&FakeHost::default()));
        assert!(!forgotten(&FakeHost::default().link(LINK, "../../sdc")));
        assert!(
            !forgotten(&with_disk(leads_to_sdb(), "I:1\nS:disk/by-id/wwn-0x6001405b2a3f1e9c\n")),
            "made anew"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*|([A-Z]:[a-z=/]*\n)*") {
            parse(&text);
        }
    }
}
