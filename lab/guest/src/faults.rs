//! The faults of the network, and their end.
//!
//! Packets are dropped at the initiator's INPUT, as in the experiment that users reported from; resets
//! and delays come from the target's side, where they would come from in a data centre.

use std::str::FromStr;

use lab_wire::{Failure, Family};

use crate::layout::{self, TARGET_NAMESPACE, initiator_interface, target_interface};
use crate::program::{run, run_line};

/// The share of packets to drop, above 0 and up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate: write 20% or 0.2, above 0 and at most 100%");
        let value = match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().map_err(|_| wrong())? / 100.0,
            None => text.parse::<f64>().map_err(|_| wrong())?,
        };
        if value > 0.0 && value <= 1.0 { Ok(Self(value)) } else { Err(wrong()) }
    }
}

impl Rate {
    /// The iptables match; none when every packet is meant.
    fn matching(self) -> String {
        if self.0 >= 1.0 {
            String::new()
        } else {
            format!("-m statistic --mode random --probability {}", self.0)
        }
    }
}

/// Drops a share of what arrives from these portals.
///
/// ARP is not IP and passes either way; so does what IPv6 has in its place, or a dead portal would be an unreachable
/// one in one family and a silent one in the other.
pub fn drop_packets(rate: Rate, portals: &[u8]) -> Result<(), Failure> {
    let table = filter()?;
    let but = if table == "ip6tables" { "! -p ipv6-icmp" } else { "" };
    for &portal in portals {
        let interface = initiator_interface(portal);
        run_line(&format!("{table} -w -A INPUT -i {interface} {but} {} -j DROP", rate.matching()))?;
    }
    Ok(())
}

/// Answers every TCP segment to these portals with a reset.
pub fn reject(portals: &[u8]) -> Result<(), Failure> {
    let table = filter()?;
    for &portal in portals {
        let interface = target_interface(portal);
        let rule = format!("{table} -w -A INPUT -i {interface} -p tcp -j REJECT --reject-with tcp-reset");
        run_at_target(&rule)?;
    }
    Ok(())
}

/// Delays what these portals send; a second time changes the delay.
pub fn delay(milliseconds: u32, portals: &[u8]) -> Result<(), Failure> {
    for &portal in portals {
        let interface = target_interface(portal);
        run_at_target(&format!("tc qdisc replace dev {interface} root netem delay {milliseconds}ms"))?;
    }
    Ok(())
}

/// Removes every fault; costs nothing where there never was one.
pub fn heal() -> Result<(), Failure> {
    let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    if is_loaded(&modules, "nf_tables") || is_loaded(&modules, "ip_tables") {
        let flush = format!("{} -w -F INPUT", filter()?);
        run_line(&flush)?;
        run_at_target(&flush)?;
    }
    if is_loaded(&modules, "sch_netem") {
        for line in run_at_target("tc qdisc show")?.lines() {
            if let Some(interface) = delayed_interface(line) {
                run_at_target(&format!("tc qdisc del dev {interface} root"))?;
            }
        }
    }
    Ok(())
}

/// The program for the portals' family.
fn filter() -> Result<&'static str, Failure> {
    Ok(match layout::spec()?.family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    })
}

/// Whether a kernel module is in the text of `/proc/modules`: no fault was made without its module.
fn is_loaded(modules: &str, module: &str) -> bool {
    modules.lines().any(|line| line.split(' ').next() == Some(module))
}

/// The interface in a line of `tc qdisc show`, if the line is of a delay.
fn delayed_interface(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|&word| word == "dev")?;
    (words.get(1) == Some(&"netem")).then(|| words.get(at + 1).copied()).flatten()
}

fn run_at_target(line: &str) -> Result<String, Failure> {
    let namespace = format!("--net={TARGET_NAMESPACE}");
    let words: Vec<&str> = ["nsenter", &namespace].into_iter().chain(line.split_whitespace()).collect();
    run(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!("20%".parse(), Ok(Rate(0.2)));
        assert_eq!("0.2".parse(), Ok(Rate(0.2)));
        assert!("100%".parse::<Rate>().unwrap().matching().is_empty());
        for wrong in ["0", "101%", "-1", "x", "", "NaN"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn modules() {
        let text = "nf_tables 204800 5 - Live 0x0\nnft_compat 20480 1\n";
        assert!(is_loaded(text, "nf_tables") && !is_loaded(text, "sch_netem") && !is_loaded(text, "nf"));
    }

    #[test]
    fn only_delays_are_taken_back() {
        assert_eq!(
            delayed_interface("qdisc netem 8001: dev t2 root refcnt 2 limit 1000 delay 10ms"),
            Some("t2")
        );
        assert_eq!(delayed_interface("qdisc noqueue 0: dev t1 root refcnt 2"), None);
        assert_eq!(delayed_interface(""), None);
    }
}
