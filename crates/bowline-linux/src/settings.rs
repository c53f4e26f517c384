//! Where this host keeps its files, and where it finds its helper and multipathd.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bowline_host::HostError;

const STATE_DIR: &str = "/var/lib/bowline";
const RUN_DIR: &str = "/run/bowline";
const HELPER: &str = "/usr/libexec/bowline/bowline-helper";

/// What differs between an installed host, a test and an embedding program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where journal and claims are kept, across boots. Made with mode 0700 at the first write.
    pub state_dir: PathBuf,
    /// Where locks are kept, until the next boot. Made with mode 0700 at the first lock.
    pub run_dir: PathBuf,
    /// The helper executable; `None` looks beside the running executable, then below /usr/libexec. A library
    /// inside another program (Python) sets it, since nothing of ours lies beside that program.
    pub helper: Option<PathBuf>,
    /// multipathd's sockets in the order in which they are tried; a leading `@` means an abstract address,
    /// as in /proc/net/unix.
    pub multipathd_sockets: Vec<String>,
}

impl Default for Settings {
    /// An installed host.
    fn default() -> Self {
        Self {
            state_dir: STATE_DIR.into(),
            run_dir: RUN_DIR.into(),
            helper: None,
            // The path exists from multipath-tools 0.12 on; the abstract address in every release.
            multipathd_sockets: vec![
                "/run/multipathd.socket".into(),
                "@/org/kernel/linux/storage/multipathd".into(),
            ],
        }
    }
}

impl Settings {
    /// An installed host, changed by `BOWLINE_STATE_DIR`, `BOWLINE_RUN_DIR` and `BOWLINE_HELPER` where these
    /// are set and not empty.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let installed = Self::default();
        Self {
            state_dir: path("BOWLINE_STATE_DIR").unwrap_or(installed.state_dir),
            run_dir: path("BOWLINE_RUN_DIR").unwrap_or(installed.run_dir),
            helper: path("BOWLINE_HELPER"),
            multipathd_sockets: installed.multipathd_sockets,
        }
    }

    /// Refuses a relative path: the helper and the programs run in `/`, and two processes that share locks
    /// must mean the same directory.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        let named = [("state directory", Some(&self.state_dir)), ("run directory", Some(&self.run_dir))];
        for (what, path) in named.into_iter().chain([("helper", self.helper.as_ref())]) {
            if let Some(path) = path.filter(|path| !path.is_absolute()) {
                let why = format!("the {what} must be an absolute path");
                return Err(HostError::unavailable("use", path.display().to_string(), why));
            }
        }
        Ok(())
    }

    /// The helper executable to start.
    pub(crate) fn helper_path(&self) -> PathBuf {
        let beside = || {
            let path = env::current_exe().ok()?.parent()?.join("bowline-helper");
            path.is_file().then_some(path)
        };
        self.helper.clone().or_else(beside).unwrap_or_else(|| Path::new(HELPER).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_override_the_defaults_and_empty_ones_do_not() {
        let settings = Settings::from_variables(|name| match name {
            "BOWLINE_STATE_DIR" => Some("/tmp/state".into()),
            "BOWLINE_RUN_DIR" => Some("".into()),
            _ => None,
        });
        assert_eq!(settings.state_dir, Path::new("/tmp/state"));
        assert_eq!(settings.run_dir, Path::new(RUN_DIR));
        assert_eq!(settings.helper, None);
    }

    #[test]
    fn a_relative_directory_is_refused_by_name() {
        let settings = Settings { run_dir: "run".into(), ..Settings::default() };
        let message = settings.check().unwrap_err().to_string();
        assert!(message.contains("run directory must be an absolute path"), "{message}");
    }
}
