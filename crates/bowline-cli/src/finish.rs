//! `bowline finish`: what connect leaves behind, on purpose, when paths are missing that may still come (B2). A
//! process of its own, detached from the caller's terminal and session; it ends by connect's deadline, or as soon as
//! another verb wants the volume.

use std::process::{Command, Stdio};
use std::time::Duration;

use bowline::Error;

use crate::cli::{FinishArgs, Progress, ReportArgs};
use crate::{host, run};

/// Brings the missing paths.
pub fn main(args: &FinishArgs) -> Result<(), Error> {
    host::require_root("finish")?;
    // Fails where it leads a group already: then it was started by hand, and may stay where it is.
    let _ = rustix::process::setsid();
    let silent = ReportArgs { json: false, progress: Progress::None, quiet: true };
    run::verb(silent, async |host, observer, cancel| {
        bowline::finish(host, &args.id, args.deadline, observer, cancel).await
    })
    .map(drop)
}

/// Starts it for an attachment, and does not wait. What fails is told as a warning: the volume is attached.
pub fn start(id: &str, deadline: Duration) -> Option<String> {
    let started = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(["finish", id, "--deadline", &format!("{}ms", deadline.as_millis())])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    match started {
        Ok(_) => None,
        Err(error) => Some(format!("the missing paths will not come by themselves: {error}")),
    }
}
