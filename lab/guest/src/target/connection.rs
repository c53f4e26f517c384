//! The connection JSON of a volume, in the form that Cinder's drivers hand out.

use lab_wire::{Failure, Spec};
use serde_json::{Value, json};

use super::chap::Chap;
use crate::layout;

/// The connection of a volume through these portals (all when none are named).
///
/// With one IQN for several portals the lists still have an entry for each portal, as Cinder has them.
pub fn connection(spec: &Spec, volume: u16, all_portals: bool, named: &[u8]) -> Result<Value, Failure> {
    layout::known_volume(spec, volume)?;
    let portals = layout::select(spec.portals, named)?;
    let address = |portal: u8| layout::listens(spec, portal).to_string();
    let iqn = |portal: u8| layout::iqn(spec.backend, portal);
    let mut data = json!({
        "target_discovered": false,
        "target_iqn": iqn(portals[0]),
        "target_portal": address(portals[0]),
        "target_lun": volume,
        "volume_id": layout::serial(volume),
    });
    if all_portals {
        data["target_iqns"] = portals.iter().map(|&portal| iqn(portal)).collect();
        data["target_portals"] = portals.iter().map(|&portal| address(portal)).collect();
        data["target_luns"] = portals.iter().map(|_| volume).collect();
    }
    Chap::in_force().hand_out(&mut data);
    Ok(json!({ "driver_volume_type": "iscsi", "data": data }))
}

#[cfg(test)]
mod tests {
    use lab_wire::{Backend, Family, Target};

    use super::*;

    fn spec(backend: Backend) -> Spec {
        let script = "/lab/x".to_owned();
        Spec {
            target: Target::Lio,
            family: Family::Ipv4,
            portals: 3,
            volumes: 2,
            backend,
            script,
            args: vec![],
            collect: false,
            timeout: 60,
        }
    }

    #[test]
    fn each_portal_has_its_entry() {
        let one = connection(&spec(Backend::IqnPerPortal), 2, true, &[]).unwrap();
        let data = &one["data"];
        assert_eq!(one["driver_volume_type"], "iscsi");
        assert_eq!(data["target_portals"], json!(["10.0.1.2:3260", "10.0.2.2:3260", "10.0.3.2:3260"]));
        assert_eq!(data["target_luns"], json!([2, 2, 2]));
        assert_ne!(data["target_iqns"][0], data["target_iqns"][1]);
        let same = connection(&spec(Backend::OneIqn), 1, true, &[]).unwrap();
        assert_eq!(same["data"]["target_iqns"][0], same["data"]["target_iqns"][2]);
    }

    #[test]
    fn an_ipv6_portal_stands_in_brackets() {
        let spec = Spec { family: Family::Ipv6, ..spec(Backend::OneIqn) };
        let data = &connection(&spec, 1, true, &[3, 1]).unwrap()["data"];
        assert_eq!(data["target_portals"], json!(["[fd00:0:0:3::2]:3260", "[fd00:0:0:1::2]:3260"]));
    }

    #[test]
    fn single_and_chosen_portals() {
        let single = connection(&spec(Backend::OneIqn), 1, false, &[2]).unwrap();
        assert_eq!(single["data"]["target_portal"], "10.0.2.2:3260");
        assert!(single["data"].get("target_portals").is_none());
        assert!(connection(&spec(Backend::OneIqn), 3, true, &[]).is_err());
        assert!(connection(&spec(Backend::OneIqn), 1, true, &[9]).is_err());
    }
}
