//! What is called how in the guest: addresses, interfaces, target names, serial numbers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use lab_wire::{Backend, Context, Failure, Family, Spec, paths};

/// The network namespace that the target's portals live in.
pub const TARGET_NAMESPACE: &str = "/run/netns/target";
/// Where the laboratory notes what a script asked of it, until it is put back.
pub const STATE: &str = "/run/lab";
/// The size of a volume until it is resized.
pub const VOLUME_SIZE: u64 = 64 << 20;
/// iSCSI's port.
pub const PORT: u16 = 3260;

/// The spec of this run.
pub fn spec() -> Result<Spec, Failure> {
    let path = Path::new(paths::PAYLOAD).join(paths::PAYLOAD_SPEC);
    let text = fs::read(&path).context(|| format!("cannot read {} (is this the guest?)", path.display()))?;
    serde_json::from_slice(&text).context(|| format!("cannot understand {}", path.display()))
}

/// The portals that a command line names: all when it names none.
pub fn portals(named: &[u8]) -> Result<Vec<u8>, Failure> {
    select(spec()?.portals, named)
}

/// The named ones of so many portals.
pub fn select(count: u8, named: &[u8]) -> Result<Vec<u8>, Failure> {
    if let Some(wrong) = named.iter().find(|&&portal| portal == 0 || portal > count) {
        return Err(Failure::new(format!("there is no portal {wrong}: this target has 1 to {count}")));
    }
    Ok(if named.is_empty() { (1..=count).collect() } else { named.to_vec() })
}

/// The initiator's address on a portal's network.
pub fn initiator_address(family: Family, portal: u8) -> IpAddr {
    address(family, portal, 1)
}

/// A portal's address.
pub fn portal_address(family: Family, portal: u8) -> IpAddr {
    address(family, portal, 2)
}

fn address(family: Family, portal: u8, end: u8) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, 0, portal, end).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd00, 0, 0, portal.into(), 0, 0, 0, end.into()).into(),
    }
}

/// Where a portal listens; an IPv6 address is written in brackets.
pub fn listens(spec: &Spec, portal: u8) -> SocketAddr {
    SocketAddr::new(portal_address(spec.family, portal), PORT)
}

/// The initiator's interface on a portal's network.
pub fn initiator_interface(portal: u8) -> String {
    format!("i{portal}")
}

/// The target's interface, in its own namespace.
pub fn target_interface(portal: u8) -> String {
    format!("t{portal}")
}

/// The name of the target behind a portal.
pub fn iqn(backend: Backend, portal: u8) -> String {
    match backend {
        Backend::OneIqn => "iqn.2026-01.io.bowline.lab:array".to_owned(),
        Backend::IqnPerPortal => format!("iqn.2026-01.io.bowline.lab:array.{portal}"),
    }
}

/// Every target's name, once.
pub fn iqns(spec: &Spec) -> Vec<String> {
    match spec.backend {
        Backend::OneIqn => vec![iqn(spec.backend, 1)],
        Backend::IqnPerPortal => (1..=spec.portals).map(|portal| iqn(spec.backend, portal)).collect(),
    }
}

/// A volume that this target has.
pub fn known_volume(spec: &Spec, volume: u16) -> Result<u16, Failure> {
    if volume == 0 || volume > spec.volumes {
        let problem = format!("there is no volume {volume}: this target has 1 to {}", spec.volumes);
        return Err(Failure::new(problem));
    }
    Ok(volume)
}

/// A volume's unit serial number. LIO puts its first 25 hex digits into the WWID, so the number comes first.
pub fn serial(volume: u16) -> String {
    format!("{volume:08x}-b0f1-4000-8000-00000000{volume:04x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_portal_named_means_all() {
        assert_eq!(select(3, &[]).unwrap(), [1, 2, 3]);
        assert_eq!(select(3, &[2]).unwrap(), [2]);
        assert!(select(3, &[4]).is_err());
        assert!(select(3, &[0]).is_err());
    }

    #[test]
    fn addresses() {
        assert_eq!(portal_address(Family::Ipv4, 3).to_string(), "10.0.3.2");
        assert_eq!(initiator_address(Family::Ipv6, 3).to_string(), "fd00:0:0:3::1");
    }

    #[test]
    fn volumes_differ_in_the_digits_that_count() {
        let digits = |volume| serial(volume).replace('-', "")[..25].to_owned();
        assert_ne!(digits(1), digits(2));
    }
}
