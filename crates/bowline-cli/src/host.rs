//! The host that the verbs work on.

use bowline::{Error, ErrorKind};
use bowline_host::Host;
use bowline_linux::{LinuxHost, Settings};

/// The Linux host this process runs on.
pub fn open() -> Result<Box<dyn Host>, Error> {
    Ok(Box::new(LinuxHost::new(Settings::from_environment())?))
}

/// Refuses unless this process is root: sessions, devices and maps are root's alone, and half a way into an
/// attach is a bad place to find that out.
pub fn require_root(verb: &str) -> Result<(), Error> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Host, format!("{verb} needs root; nothing was touched"))
            .hint(format!("run it as root: sudo bowline {verb} …"))),
    }
}
