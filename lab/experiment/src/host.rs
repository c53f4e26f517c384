//! On what a run is made.

use std::fs;
use std::process::Command;

use lab_experiment::Versions;

/// The versions of this host, and the contender's own.
pub fn versions(contender: String) -> Versions {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    Versions {
        kernel,
        open_iscsi: package("open-iscsi"),
        multipath_tools: package("multipath-tools"),
        contender,
    }
}

/// The version of a Debian package.
fn package(name: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", name]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
