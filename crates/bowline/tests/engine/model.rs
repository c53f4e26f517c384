//! What the fake kernel, iscsid and multipathd have, and how sysfs and the databases show it.

use std::collections::{BTreeMap, BTreeSet};

use bowline_host::host::DmDevice;
use bowline_host::iscsi::Endpoint;
use bowline_host::names::DevNumber;
use bowline_host::{Iface, Portal};

pub const IQN: &str = "iqn.2026-11.net.example:volume-1";
pub const WWID: &str = "36001405b2a3f1e9c0d84d6b8f7a1c2e3";
const PAGE: &[u8] =
    b"\0\x83\0\x14\x01\x03\0\x10\x60\x01\x40\x5b\x2a\x3f\x1e\x9c\x0d\x84\xd6\xb8\xf7\xa1\xc2\xe3";

/// Path to bytes.
pub type Files = BTreeMap<String, Vec<u8>>;
/// Path to where it leads.
pub type Links = BTreeMap<String, String>;

/// What exists. Session, SCSI host and disk of portal `10.0.0.n` all have number `n`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Node records: portal to settings.
    pub records: BTreeMap<u8, BTreeMap<String, String>>,
    pub sessions: BTreeSet<u8>,
    pub disks: BTreeSet<u8>,
    /// Below which sessions others have scanned for LUN 9 of the target.
    pub strangers: BTreeSet<u8>,
    /// Disks that the kernel does not use in the map.
    pub down: BTreeSet<u8>,
    /// The paths of the volume's map.
    pub map: Option<BTreeSet<u8>>,
    pub wwid_on_file: bool,
}

pub fn endpoint(n: u8) -> Endpoint {
    let portal = Portal { address: [10, 0, 0, n].into(), port: 3260 };
    Endpoint { iqn: IQN.parse().unwrap(), portal, iface: Iface::default() }
}

pub fn disk_name(n: u8) -> String {
    format!("sd{}", char::from(b'a' + n))
}

impl Model {
    pub fn default_record(n: u8) -> BTreeMap<String, String> {
        let settings = [
            ("node.startup", "automatic"),
            ("node.session.scan", "auto"),
            ("node.session.initial_login_retry_max", "8"),
            ("node.conn[0].timeo.login_timeout", "15"),
            ("node.session.auth.authmethod", "None"),
            ("iface.iscsi_ifacename", "default"),
            ("node.conn[0].address", &format!("10.0.0.{n}")),
        ];
        settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    pub fn record_path(n: u8) -> String {
        format!("/etc/iscsi/nodes/{IQN}/10.0.0.{n},3260")
    }

    /// Every file and every link, as they are now.
    pub fn render(&self) -> (Files, Links) {
        let mut files = Files::new();
        let mut links = Links::new();
        let mut file = |path: String, bytes: &[u8]| drop(files.insert(path, bytes.to_vec()));
        for (n, settings) in &self.records {
            let lines: String = settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            file(Self::record_path(*n), format!("# BEGIN RECORD 2.1.8\n{lines}# END RECORD\n").as_bytes());
        }
        for n in &self.sessions {
            let session = format!("/sys/class/iscsi_session/session{n}");
            let at = format!("../../devices/platform/host{n}/session{n}/iscsi_session/session{n}");
            links.insert(session.clone(), at);
            file(format!("{session}/targetname"), IQN.as_bytes());
            file(format!("{session}/state"), b"LOGGED_IN\n");
            file(format!("{session}/ifacename"), b"default\n");
            let connection = format!("/sys/class/iscsi_connection/connection{n}:0");
            file(format!("{connection}/persistent_address"), format!("10.0.0.{n}\n").as_bytes());
            file(format!("{connection}/persistent_port"), b"3260\n");
        }
        for n in &self.disks {
            let (name, number) = (disk_name(*n), format!("8:{}", 16 * u32::from(*n)));
            let device = format!("/sys/class/scsi_device/{n}:0:0:1/device");
            file(format!("{device}/state"), b"running\n");
            file(format!("{device}/type"), b"0\n");
            file(format!("{device}/vpd_pg83"), PAGE);
            file(format!("{device}/block/{name}/dev"), number.as_bytes());
            let block = format!("/sys/class/block/{name}");
            file(format!("{block}/dev"), number.as_bytes());
            file(format!("{block}/size"), b"2097152\n");
            file(format!("{block}/ro"), b"0\n");
            file(format!("/sys/dev/block/{number}/dev"), number.as_bytes());
            file(format!("/run/udev/data/b{number}"), b"I:1\n");
            if self.map.as_ref().is_some_and(|paths| paths.contains(n)) {
                file(format!("{block}/holders/dm-3/dev"), b"254:3\n");
            }
        }
        for n in &self.strangers {
            file(format!("/sys/class/scsi_device/{n}:0:0:9/device/state"), b"running\n");
        }
        if self.map.is_some() {
            let block = "/sys/class/block/dm-3";
            for (name, text) in [("dev", "254:3"), ("size", "2097152"), ("ro", "0"), ("dm/name", "mpatha")] {
                file(format!("{block}/{name}"), text.as_bytes());
            }
            file(format!("{block}/dm/uuid"), format!("mpath-{WWID}\n").as_bytes());
            file("/run/udev/data/b254:3".into(), b"I:1\nE:MPATH_DEVICE_READY=1\nE:DM_SUSPENDED=0\n");
            links.insert("/dev/mapper/mpatha".into(), "../dm-3".into());
        }
        let wwids = if self.wwid_on_file { format!("/{WWID}/\n") } else { "# Multipath wwids\n".into() };
        file("/etc/multipath/wwids".into(), wwids.as_bytes());
        (files, links)
    }

    /// What device-mapper says of the map.
    pub fn dm(&self) -> Option<DmDevice> {
        let paths = self.map.as_ref()?;
        let state = |n| if self.down.contains(n) { "F" } else { "A" };
        let each: Vec<String> =
            paths.iter().map(|n| format!("8:{} {} 0", 16 * u32::from(*n), state(n))).collect();
        let status = format!("0 2097152 multipath 2 0 0 0 1 1 A 0 {} 0 {}", paths.len(), each.join(" "));
        Some(DmDevice {
            name: "mpatha".into(),
            uuid: format!("mpath-{WWID}"),
            number: DevNumber { major: 254, minor: 3 },
            open_count: 0,
            suspended: false,
            live_table: true,
            deps: Vec::new(),
            table: vec!["0 2097152 multipath 0 0 1 1 service-time 0 0 0".into()],
            status: vec![status],
        })
    }
}
