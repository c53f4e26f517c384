//! What goes on when the process that began it is gone: an iscsiadm that waits for iscsid, a scan in the kernel. Nobody is
//! told of its end, but as long as it lasts its process is there to be seen.

use crate::host::{Host, HostError};
use crate::iscsi::{Endpoint, login_arguments, logout_arguments};
use crate::names::ScsiHost;
use crate::sysfs::{attribute, list, processes};

/// The process of an iscsiadm that waits for iscsid's answer to a login to that endpoint. iscsid takes a request up even if it
/// stood still when that was sent (docs/findings.md), so until this process has ended the login may land.
///
/// # Errors
/// /proc cannot be read: then it may be there.
pub fn login_waiting(host: &dyn Host, endpoint: &Endpoint) -> Result<Option<u32>, HostError> {
    find_iscsiadm(host, &login_arguments(endpoint))
}

/// Whether that process is still such an iscsiadm.
///
/// # Errors
/// As [`login_waiting`].
pub fn logs_in(host: &dyn Host, pid: u32, endpoint: &Endpoint) -> Result<bool, HostError> {
    is_iscsiadm(host, pid, &login_arguments(endpoint))
}

/// The process of an iscsiadm that waits for iscsid's answer to a logout there: the session is going.
///
/// # Errors
/// As [`login_waiting`].
pub fn logout_waiting(host: &dyn Host, endpoint: &Endpoint) -> Result<Option<u32>, HostError> {
    find_iscsiadm(host, &logout_arguments(endpoint))
}

fn find_iscsiadm(host: &dyn Host, arguments: &[String]) -> Result<Option<u32>, HostError> {
    for pid in processes(host)? {
        if is_iscsiadm(host, pid, arguments)? {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn is_iscsiadm(host: &dyn Host, pid: u32, arguments: &[String]) -> Result<bool, HostError> {
    let line = attribute(host, &format!("/proc/{pid}/cmdline"))?.unwrap_or_default();
    let Some((program, rest)) = line.split_once('\0') else { return Ok(false) };
    Ok(program.rsplit('/').next() == Some("iscsiadm") && words(rest) == words(&arguments.join("\0")))
}

/// iscsiadm takes its arguments apart where they lie: a portal's colon has become a NUL (open-iscsi 2.1.8, seen on a running one).
/// And a target's name may be spelled in another case in its record.
fn words(line: &str) -> Vec<String> {
    let words = line.split(['\0', ':', '[', ']']).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

/// Whether a helper of bowline's scans on that SCSI host, for whomever: it has the attribute open until the kernel returns,
/// also when it was killed meanwhile.
///
/// # Errors
/// As [`login_waiting`].
pub fn scan_running(host: &dyn Host, scsi_host: ScsiHost) -> Result<bool, HostError> {
    let attribute_of_host = format!("/{scsi_host}/scan");
    for pid in processes(host)? {
        if attribute(host, &format!("/proc/{pid}/comm"))?.as_deref() != Some("bowline-helper") {
            continue;
        }
        let folder = format!("/proc/{pid}/fd");
        for fd in list(host, &folder)? {
            // One that cannot be read was closed meanwhile.
            let file = host.read_link(&format!("{folder}/{fd}"));
            if file.is_ok_and(|file| file.ends_with(&attribute_of_host)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;

    fn endpoint() -> Endpoint {
        Endpoint {
            iqn: "iqn.2026-11.net.example:array".parse().unwrap(),
            portal: "10.0.0.1:3260".parse().unwrap(),
            iface: Default::default(),
        }
    }

    fn command(words: &[&str]) -> FakeHost {
        FakeHost::default().file("/proc/7/cmdline", words.join("\0") + "\0").file("/proc/self/stat", "")
    }

    #[test]
    fn a_login_is_told_from_everything_else_that_iscsiadm_does() {
        let call = [
            "/usr/sbin/iscsiadm",
            "-m",
            "node",
            "-T",
            "iqn.2026-11.net.example:ARRAY",
            "-p",
            "10.0.0.1:3260",
        ];
        let with = |rest: &[&str]| command(&[&call[..], rest].concat());
        let login = with(&["-I", "default", "--login"]);
        assert_eq!(login_waiting(&login, &endpoint()).unwrap(), Some(7));
        for other in [&["-I", "default", "--logout"][..], &["-I", "second", "--login"], &["-I", "default"]] {
            assert_eq!(login_waiting(&with(other), &endpoint()).unwrap(), None, "{other:?}");
        }
        assert_eq!(logout_waiting(&with(&["-I", "default", "--logout"]), &endpoint()).unwrap(), Some(7));
        let elsewhere = Endpoint { portal: "10.0.0.2:3260".parse().unwrap(), ..endpoint() };
        assert_eq!(login_waiting(&login, &elsewhere).unwrap(), None);
        assert!(!logs_in(&login, 8, &endpoint()).unwrap(), "a process that is gone waits for nothing");
        let unreadable = with(&["-I", "default", "--login"]).error("/proc/7/cmdline", 5);
        assert!(
            logs_in(&unreadable, 7, &endpoint()).is_err() && login_waiting(&unreadable, &endpoint()).is_err()
        );
        let ended = with(&["-I", "default", "--login"]).error("/proc/7/cmdline", 3);
        assert_eq!(login_waiting(&ended, &endpoint()).unwrap(), None);
        let seen = "iscsiadm -m node -T iqn.2026-11.net.example:array -p 10.0.0.1 3260 -I default --login "
            .replace(' ', "\0");
        let taken_apart = FakeHost::default().file("/proc/7/cmdline", seen);
        assert_eq!(login_waiting(&taken_apart, &endpoint()).unwrap(), Some(7));
    }

    #[test]
    fn a_scan_is_seen_by_the_attribute_that_a_helper_has_open() {
        let scan = "/sys/devices/platform/host21/scsi_host/host21/scan";
        let helper = |command: &str| {
            FakeHost::default().file("/proc/9/comm", format!("{command}\n")).link("/proc/9/fd/4", scan)
        };
        assert!(scan_running(&helper("bowline-helper"), ScsiHost(21)).unwrap());
        assert!(!scan_running(&helper("bowline-helper"), ScsiHost(1)).unwrap());
        assert!(!scan_running(&helper("udevd"), ScsiHost(21)).unwrap());
    }
}
