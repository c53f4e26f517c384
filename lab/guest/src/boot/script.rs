//! Running the script: its output out as it comes, its end at once, its time watched.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab_wire::{Context, Failure, Frame, Spec, paths};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::channel::Channel;
use super::watch;

/// Runs the script to its end or its limit, and returns the frame that ends the run.
pub fn run(spec: &Spec, channel: &Channel) -> Result<Frame, Failure> {
    fs::create_dir_all(paths::OUT).context(|| "cannot make /out")?;
    let mut child = Command::new(&spec.script)
        .args(&spec.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("cannot start {}", spec.script))?;
    let ended = pass_output(&mut child, channel, Duration::from_secs(spec.timeout))?;
    if spec.collect {
        collect(channel)?;
    }
    if !ended {
        return Ok(Frame::Hung(watch::what_is_running()));
    }
    let status = child.wait().context(|| "cannot wait for the script")?;
    // As a shell says it: 128 and the signal.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    rustix::fs::sync();
    Ok(Frame::Exit(code))
}

/// Passes on what the script prints until it ends (true) or its time is over (false).
///
/// What it started may outlive it and hold the pipes open, so their end is not waited for.
fn pass_output(child: &mut Child, channel: &Channel, limit: Duration) -> Result<bool, Failure> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("an impossible process id"))?;
    let end = pidfd_open(pid, PidfdFlags::empty()).context(|| "cannot watch the script")?;
    let out = child.stdout.take().map(OwnedFd::from);
    let err = child.stderr.take().map(OwnedFd::from);
    let (Some(out), Some(err)) = (out, err) else { return Err(Failure::new("the script has no output")) };
    let (mut out, mut err) = (Some(File::from(out)), Some(File::from(err)));
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = wait_any(end.as_fd(), out.as_ref(), err.as_ref(), left)?;
        let (more_out, more_err) =
            (pass_one(&mut out, channel, Frame::Stdout)?, pass_one(&mut err, channel, Frame::Stderr)?);
        if ended && !more_out && !more_err {
            return Ok(true);
        }
        if !ended && left.is_zero() {
            return Ok(false);
        }
    }
}

/// Waits until there is output, or the script ended (true), or the time is over.
fn wait_any(
    end: BorrowedFd<'_>,
    out: Option<&File>,
    err: Option<&File>,
    left: Duration,
) -> Result<bool, Failure> {
    let mut fds = vec![PollFd::from_borrowed_fd(end, PollFlags::IN)];
    fds.extend([out, err].into_iter().flatten().map(|file| PollFd::new(file, PollFlags::IN)));
    let left = Timespec::try_from(left).context(|| "an impossible time limit")?;
    match poll(&mut fds, Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().is_empty()),
        Err(error) => Err(error).context(|| "cannot wait for the script"),
    }
}

/// Passes on what is there now; false when there is nothing. A stream at its end is put away.
fn pass_one(
    stream: &mut Option<File>,
    channel: &Channel,
    frame: fn(Vec<u8>) -> Frame,
) -> Result<bool, Failure> {
    let Some(file) = stream else { return Ok(false) };
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    if fds[0].revents().is_empty() {
        return Ok(false);
    }
    let mut bytes = vec![0; 64 << 10];
    let count = file.read(&mut bytes).context(|| "cannot read the script's output")?;
    bytes.truncate(count);
    if count == 0 {
        *stream = None;
        return Ok(false);
    }
    channel.send(&frame(bytes))?;
    Ok(true)
}

/// Sends what is in `/out` as a tar, if anything is.
fn collect(channel: &Channel) -> Result<(), Failure> {
    if Path::new(paths::OUT).read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    let mut tar = Command::new("tar");
    tar.args(["-C", paths::OUT, "-cf", "-", "."]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut tar = tar.spawn().context(|| "cannot start tar")?;
    if let Some(mut output) = tar.stdout.take() {
        loop {
            let mut bytes = vec![0; 64 << 10];
            let count = output.read(&mut bytes).context(|| "cannot read /out")?;
            if count == 0 {
                break;
            }
            bytes.truncate(count);
            channel.send(&Frame::Collected(bytes))?;
        }
    }
    tar.wait().map(drop).context(|| "cannot wait for tar")
}
