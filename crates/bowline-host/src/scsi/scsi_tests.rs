use super::*;
use crate::testing::FakeHost;

const PAGE: &[u8] =
    b"\0\x83\0\x14\x01\x03\0\x10\x60\x01\x40\x5b\x2a\x3f\x1e\x9c\x0d\x84\xd6\xb8\xf7\xa1\xc2\xe3";
const WWID: &str = "36001405b2a3f1e9c0d84d6b8f7a1c2e3";

/// What is found below a SCSI host.
fn devices(host: &FakeHost, scsi_host: ScsiHost) -> Result<Vec<ScsiDevice>, HostError> {
    let below = addresses(host)?.into_iter().filter(|hctl| hctl.host == scsi_host);
    below.filter_map(|hctl| device(host, hctl).transpose()).collect()
}

fn with_device(host: FakeHost, hctl: &str, kind: &str) -> FakeHost {
    let path = format!("{DEVICES}/{hctl}/device");
    host.file(&format!("{path}/state"), "running\n").file(&format!("{path}/type"), format!("{kind}\n"))
}

fn with_disk(host: FakeHost, hctl: &str, name: &str) -> FakeHost {
    with_device(host, hctl, "0")
        .file(&format!("{DEVICES}/{hctl}/device/vpd_pg83"), PAGE)
        .file(&format!("{DEVICES}/{hctl}/device/block/{name}/dev"), "8:16\n")
        .file(&format!("{BLOCKS}/{name}/dev"), "8:16\n")
        .file(&format!("{BLOCKS}/{name}/size"), "2097152\n")
        .file(&format!("{BLOCKS}/{name}/ro"), "0\n")
        .file(&format!("{BLOCKS}/{name}/{name}1/partition"), "1\n")
        .file(&format!("{BLOCKS}/{name}/{name}1/holders/dm-9/dev"), "254:9\n")
        .file(&format!("{BLOCKS}/{name}/holders/dm-3/dev"), "254:3\n")
        .file(&format!("{BLOCKS}/{name}/queue/scheduler"), "none\n")
}

#[test]
fn the_devices_of_one_host_are_found_with_all_that_is_known() {
    let host = with_disk(FakeHost::default(), "3:0:0:10", "sdb");
    let host = with_disk(host, "33:0:0:1", "sdc");
    let host = with_device(with_device(host, "3:0:0:0", "12"), "3:0:0:2", "0");
    let found = devices(&host, ScsiHost(3)).unwrap();
    assert_eq!(found.iter().map(|d| d.hctl.lun.0).collect::<Vec<_>>(), [0, 2, 10]);
    assert!(found[0].block.is_none() && found[1].block.is_none() && found[1].wwid.is_none());
    let disk = found[2].block.as_ref().unwrap();
    assert_eq!(found[2].wwid.as_ref().unwrap().as_str(), WWID);
    assert_eq!((disk.size, disk.read_only, disk.number.to_string().as_str()), (1 << 30, false, "8:16"));
    assert_eq!(disk.holders.iter().map(BlockName::as_str).collect::<Vec<_>>(), ["dm-3", "dm-9"]);
    assert_eq!(disk.partitions, ["sdb1".parse().unwrap()]);
    assert!(devices(&host, ScsiHost(4)).unwrap().is_empty());
}

#[test]
fn c6_the_identity_comes_from_what_sysfs_still_has() {
    let device = |file: &str, bytes: &[u8]| {
        let host = with_device(FakeHost::default(), "3:0:0:1", "0");
        let host = host.file(&format!("{DEVICES}/3:0:0:1/device/{file}"), bytes);
        devices(&host, ScsiHost(3)).unwrap().remove(0).wwid.map(String::from)
    };
    assert_eq!(device("vpd_pg83", PAGE).as_deref(), Some(WWID));
    assert_eq!(device("wwid", b"naa.6001405b2a3f1e9c0d84d6b8f7a1c2e3\n").as_deref(), Some(WWID));
    assert_eq!(device("vpd_pg80", b"\0\x80\0\x02ab").as_deref(), Some("S_ab"));
}

#[test]
fn c7_a_page_that_cannot_be_read_is_no_error() {
    let host = with_disk(FakeHost::default(), "3:0:0:1", "sdb")
        .error(&format!("{DEVICES}/3:0:0:1/device/vpd_pg83"), 22);
    assert_eq!(devices(&host, ScsiHost(3)).unwrap()[0].wwid, None);
}

#[test]
fn states_are_the_kernels() {
    assert_eq!(state_of("running"), DeviceState::Running);
    assert_eq!(state_of("transport-offline"), DeviceState::Offline);
    assert_eq!(state_of("cancel"), DeviceState::Going);
    assert_eq!(state_of("quiesce"), DeviceState::Blocked);
    assert_eq!(state_of("created"), DeviceState::Unknown);
}

#[test]
fn a_device_that_goes_away_is_absent_and_one_that_is_malformed_an_error() {
    let name = "sdb".parse().unwrap();
    assert_eq!(block_device(&FakeHost::default(), &name).unwrap(), None);
    let gone = with_disk(FakeHost::default(), "3:0:0:1", "sdb").error(&format!("{BLOCKS}/sdb/size"), 19);
    assert_eq!(block_device(&gone, &name).unwrap(), None);
    let bad = with_disk(FakeHost::default(), "3:0:0:1", "sdb").file(&format!("{BLOCKS}/sdb/size"), "many\n");
    assert!(block_device(&bad, &name).is_err());
}

#[test]
fn c12_a_scan_names_everything_and_a_deletion_one_device() {
    let text = scan(ScsiHost(3), Lun(513)).to_string();
    assert_eq!(text, r#"write "0 0 513" to /sys/class/scsi_host/host3/scan"#);
    let text = delete("3:0:0:513".parse().unwrap()).to_string();
    assert_eq!(text, r#"write "1" to /sys/class/scsi_device/3:0:0:513/device/delete"#);
}
