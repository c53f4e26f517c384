use super::*;
use crate::testing::FakeHost;
use proptest::prelude::*;

const WWID: &str = "36001405b2a3f1e9c0d84d6b8f7a1c2e3";
const TABLE: &str = "0 2097152 multipath 2 queue_if_no_path retain_attached_hw_handler 1 alua 2 1 \
                     service-time 0 2 2 8:16 1 1 8:32 1 1 service-time 0 1 2 8:48 1 1";
const STATUS: &str = "0 2097152 multipath 2 0 0 0 2 1 A 0 2 2 8:16 A 0 0 1 8:32 F 3 0 1 E 0 1 2 8:48 A 0 0 1";

fn device(table: &str, status: &str) -> DmDevice {
    DmDevice {
        name: "mpatha".into(),
        uuid: format!("mpath-{WWID}"),
        number: DevNumber { major: 254, minor: 3 },
        open_count: 1,
        suspended: false,
        live_table: true,
        deps: Vec::new(),
        table: vec![table.into()],
        status: vec![status.into()],
    }
}

fn look(table: &str, status: &str) -> Result<Option<Map>, HostError> {
    map_of(&FakeHost::default().dm_device(device(table, status)), &WWID.parse().unwrap())
}

#[test]
fn table_and_status_of_linux_6_1_are_understood() {
    let map = look(TABLE, STATUS).unwrap().unwrap();
    assert_eq!((map.size, map.queueing, map.block_name().as_str()), (1 << 30, true, "dm-3"));
    let paths: Vec<_> = map.paths.iter().map(|path| (path.number.to_string(), path.active)).collect();
    assert_eq!(paths, [("8:16".into(), true), ("8:32".into(), false), ("8:48".into(), true)]);
}

#[test]
fn a_map_without_features_or_paths_is_understood() {
    let map = look("0 8 multipath 0 0 0 0", "0 8 multipath 2 0 0 0 0 0").unwrap().unwrap();
    assert!(!map.queueing && map.paths.is_empty());
    let map = look("0 8 error", "0 8 error").unwrap().unwrap();
    assert!(map.paths.is_empty() && map.size == 4096);
}

#[test]
fn what_is_malformed_is_an_error_that_names_the_map() {
    for (table, status) in [
        (TABLE, "0 2097152 multipath 2 0 0 0 1 1 A 0 2 2 8:16 A 0 0"),
        (TABLE, "0 2097152 multipath 2 0 0 0 1 1 A 0 1 0 8:16 X 0"),
        ("0 8 multipath 3 queue_if_no_path", STATUS),
        ("0 18446744073709551615 multipath 0", STATUS),
        ("", STATUS),
    ] {
        let error = look(table, status).unwrap_err();
        assert!(error.to_string().contains("mpatha"), "{error}");
    }
}

#[test]
fn c8_a_holder_is_a_map_by_its_uuid_and_its_number() {
    let uuid = |text: &str| {
        FakeHost::default()
            .dm_device(device(TABLE, STATUS))
            .file("/sys/class/block/dm-3/dm/uuid", format!("{text}\n"))
    };
    let holder = "dm-3".parse().unwrap();
    assert_eq!(map_at(&uuid(&format!("mpath-{WWID}")), &holder).unwrap().unwrap().name.as_str(), "mpatha");
    assert_eq!(map_at(&uuid(&format!("part1-mpath-{WWID}")), &holder).unwrap(), None);
    assert_eq!(map_at(&uuid("LVM-abc"), &holder).unwrap(), None);
    assert_eq!(map_at(&uuid("mpath-3600"), &holder).unwrap(), None);
    assert_eq!(map_at(&uuid(""), &"sda".parse().unwrap()).unwrap(), None);
    let moved = FakeHost::default()
        .dm_device(device(TABLE, STATUS))
        .file("/sys/class/block/dm-9/dm/uuid", format!("mpath-{WWID}\n"));
    assert_eq!(map_at(&moved, &"dm-9".parse().unwrap()).unwrap(), None);
}

proptest! {
    #[test]
    fn any_line_is_read(table in "\\PC*|0 8 multipath [0-9 AF:]*", status in "\\PC*|0 8 multipath [0-9 AF:]*") {
        let _ = look(&table, &status);
    }
}

#[test]
fn a_message_is_dmsetups() {
    let limit = std::time::Duration::from_secs(1);
    let host =
        FakeHost::default().ends(0, "").ends(1, "device-mapper: message ioctl failed\nCommand failed.\n");
    let mpatha = "mpatha".parse().unwrap();
    let tell = || crate::testing::block_on(message(&host, &mpatha, "fail_path 8:16", limit));
    tell().unwrap();
    assert_eq!(host.log(), ["dmsetup message mpatha 0 fail_path 8:16"]);
    assert_eq!(host.ran()[0].args.len(), 4, "the message is one argument");
    assert!(tell().unwrap_err().to_string().contains("Command failed"));
}
