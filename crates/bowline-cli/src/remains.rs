//! What may remain on the host when a verb is left at once, told from the events so far. It names the objects
//! that were seen to come and not seen to go; `inspect` knows more, but has to look.

use std::collections::{BTreeMap, BTreeSet};

use bowline::Event;
use bowline_host::iscsi::Endpoint;

/// What was seen.
#[derive(Debug, Default)]
pub struct Remains {
    /// By path, whether its session was seen: before that it has a node record at most.
    paths: BTreeMap<Endpoint, bool>,
    devices: BTreeSet<String>,
    map: Option<String>,
}

impl Remains {
    /// Takes an event in.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::PathPreparing { endpoint } => {
                self.paths.entry(endpoint.clone()).or_insert(false);
            }
            // iscsid cannot cancel a login: from here on a session may come into being.
            Event::PathLoggingIn { endpoint }
            | Event::PathLoggedIn { endpoint }
            | Event::PathScanning { endpoint, .. }
            | Event::PathLoggingOut { endpoint } => {
                self.paths.insert(endpoint.clone(), true);
            }
            Event::DeviceAppeared { endpoint, device } | Event::PathJoined { endpoint, device } => {
                self.paths.insert(endpoint.clone(), true);
                self.devices.insert(device.to_string());
            }
            Event::DeviceRead { device }
            | Event::Flushing { device }
            | Event::Flushed { device }
            | Event::DeviceDeleting { device } => {
                self.devices.insert(device.to_string());
            }
            Event::DeviceGone { device } => {
                self.devices.remove(device.as_str());
            }
            Event::MapReady { map, .. } | Event::MapRemoving { map } => self.map = Some(map.to_string()),
            Event::MapRemoved { .. } => self.map = None,
            Event::PathGone { endpoint } | Event::PathReleased { endpoint } => {
                self.paths.remove(endpoint);
            }
            Event::WaitingForLock { .. }
            | Event::PathFailed { .. }
            | Event::MapRequested { .. }
            | Event::Note { .. }
            | Event::CleaningUp { .. } => {}
        }
    }

    /// One line each.
    pub fn lines(&self) -> Vec<String> {
        let map = self.map.iter().map(|map| format!("multipath map {map}"));
        let devices = self.devices.iter().map(|device| format!("device {device}"));
        let paths = self.paths.iter().map(|(endpoint, session)| match session {
            true => format!("session and node record of {endpoint}"),
            false => format!("node record of {endpoint}"),
        });
        map.chain(devices).chain(paths).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D9: what may be left behind is named, one line each.
    #[test]
    fn d9_what_came_and_did_not_go() {
        let endpoint = |portal: &str| Endpoint {
            iqn: "iqn.a:1".parse().unwrap(),
            portal: portal.parse().unwrap(),
            iface: Default::default(),
        };
        let mut remains = Remains::default();
        assert!(remains.lines().is_empty());
        remains.note(&Event::PathPreparing { endpoint: endpoint("10.0.0.1") });
        remains.note(&Event::PathLoggingIn { endpoint: endpoint("10.0.0.2") });
        remains
            .note(&Event::DeviceAppeared { endpoint: endpoint("10.0.0.2"), device: "sda".parse().unwrap() });
        remains.note(&Event::MapReady {
            map: "mpatha".parse().unwrap(),
            wwid: "3a".parse().unwrap(),
            paths: 1,
        });
        assert_eq!(
            remains.lines(),
            [
                "multipath map mpatha",
                "device sda",
                "node record of iqn.a:1 at 10.0.0.1:3260",
                "session and node record of iqn.a:1 at 10.0.0.2:3260"
            ]
        );
        remains.note(&Event::MapRemoved { wwid: "3a".parse().unwrap() });
        remains.note(&Event::DeviceGone { device: "sda".parse().unwrap() });
        remains.note(&Event::PathGone { endpoint: endpoint("10.0.0.2") });
        assert_eq!(remains.lines(), ["node record of iqn.a:1 at 10.0.0.1:3260"]);
    }
}
