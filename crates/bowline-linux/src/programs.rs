//! The one way to run a program.
//!
//! Locale, PATH and working directory are fixed, standard input is null, and the rest of the environment is
//! empty: what a program prints does not depend on who calls it.
//!
//! Output goes to memory files rather than pipes. A program that outlives its limit, or us, then goes on
//! writing instead of dying of SIGPIPE, which would be a way to kill iscsiadm while it holds its database
//! lock. And a daemon that it starts (iscsiadm may start iscsid) can keep the descriptors without keeping us
//! waiting for their end.
//!
//! Each program leads a process group of its own, so that ctrl-C at the terminal reaches us and not
//! iscsiadm. A program we do not wait for any more is reaped by tokio, whose signal driver collects dropped
//! children as they end: a long-lived process gathers no zombies.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use bowline_host::HostError;
use bowline_host::host::{Ended, Program};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::inherit::inherit;
use crate::locks::Locks;

/// Where Debian and Fedora keep system programs; a service may be started with no PATH at all.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of each output stream is kept.
const MOST: u64 = 1 << 20;

/// Runs programs, and remembers where they are.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    found: Mutex<HashMap<&'static str, PathBuf>>,
}

impl Programs {
    /// Runs a program to its end or its limit. Cancelling is as hitting the limit.
    pub(crate) async fn run(&self, program: &Program, locks: &Locks) -> Result<Ended, HostError> {
        let failed = |error| HostError::io("run", program.to_string(), error);
        let path = self.find(program.name)?;
        let (mut stdout, mut stderr) = (capture().map_err(failed)?, capture().map_err(failed)?);
        let mut command = Command::new(&path);
        command
            .args(&program.args)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", SEARCH)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().map_err(failed)?)
            .stderr(stderr.try_clone().map_err(failed)?);
        if program.keeps_locks {
            inherit(&mut command, locks.files());
        }
        let child = command.spawn().map_err(failed)?;
        // From here on the program alone keeps the locks.
        drop(command);
        let mut running = Running { child, abandon: program.abandon };
        let status = tokio::time::timeout(program.limit, running.child.wait())
            .await
            .map_err(|_| HostError::timed_out("run", program.to_string(), program.limit))?
            .map_err(failed)?;
        Ok(Ended {
            code: status.code(),
            stdout: captured(&mut stdout).map_err(failed)?,
            stderr: captured(&mut stderr).map_err(failed)?,
        })
    }

    fn find(&self, name: &'static str) -> Result<PathBuf, HostError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = found.get(name) {
            return Ok(path.clone());
        }
        let mut candidates = SEARCH.split(':').map(|dir| Path::new(dir).join(name));
        let path = candidates.find(|path| is_program(path)).ok_or_else(|| {
            let package = match name {
                "iscsiadm" => "; install open-iscsi (iscsi-initiator-utils)",
                "multipath" | "multipathd" => "; install multipath-tools (device-mapper-multipath)",
                _ => "",
            };
            HostError::unavailable("run", name, format!("it was not found in {SEARCH}{package}"))
        })?;
        found.insert(name, path.clone());
        Ok(path)
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A program that was started. Dropped before its end it is told to end, unless it must be left alone.
struct Running {
    child: Child,
    abandon: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // `id` is None once the child was reaped: its number may then be another process's.
        let leader = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader.filter(|_| !self.abandon) {
            // It may have ended this very moment; then there is nobody to tell.
            let _ = kill_process_group(leader, Signal::TERM);
        }
    }
}

/// A file in memory of fixed size: a program gone wild gets EPERM from write and cannot eat the memory.
fn capture() -> io::Result<File> {
    let file = File::from(memfd_create("output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.set_len(MOST)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

/// What was written. The position is shared with the program's descriptor, so it tells how much that is.
fn captured(file: &mut File) -> io::Result<String> {
    let written = file.stream_position()?.min(MOST);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(written).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
