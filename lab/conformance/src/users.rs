//! Whoever was given a device: writes, reads, keeps it open. With programs of the guest, as on a host.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::output;

const PATTERN: &str = "/tmp/conform-pattern";
const READ: &str = "/tmp/conform-read";
const SIZE: usize = 1 << 20;
/// One that is told to end ends by then; one that hangs in the kernel does when its I/O is failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The users of this case.
#[derive(Default)]
pub struct Users {
    /// Who has something open.
    holders: Vec<Child>,
    /// Who writes to a page cache and closes.
    closers: Vec<Child>,
    /// How often each volume was written to.
    written: BTreeMap<u64, u32>,
}

impl Users {
    /// Writes another pattern through to the target; whether that went.
    pub fn write(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        let count = self.written.get(&volume).copied().unwrap_or_default() + 1;
        make_pattern(volume, count)?;
        let to = format!("of={node}");
        let words = [&format!("if={PATTERN}"), to.as_str(), "bs=64k", "oflag=direct", "conv=fsync,notrunc"];
        let done = output("dd", &words)?.status.success();
        if done {
            self.written.insert(volume, count);
        }
        Ok(done)
    }

    /// Whether the device shows what was written last.
    pub fn verify(&self, node: &str, volume: u64) -> Result<bool, String> {
        let count = self.written.get(&volume).copied().unwrap_or_default();
        let (from, to) = (format!("if={node}"), format!("of={READ}"));
        if !output("dd", &[&from, &to, "bs=64k", "count=16", "iflag=direct"])?.status.success() {
            return Ok(false);
        }
        let read = fs::read(READ).map_err(|error| format!("cannot read {READ}: {error}"))?;
        Ok(read == pattern(volume, count))
    }

    /// Keeps a device open.
    pub fn open(&mut self, node: &str) -> Result<(), String> {
        let device = File::open(node).map_err(|error| format!("cannot open {node}: {error}"))?;
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(device).stdout(Stdio::null()).stderr(Stdio::null());
        self.holders.push(command.spawn().map_err(|error| format!("cannot start sleep: {error}"))?);
        Ok(())
    }

    /// Writes to the page cache, and closes, which is not waited for.
    pub fn write_cached(&mut self, node: &str) -> Result<(), String> {
        make_pattern(0, 0)?;
        let mut command = Command::new("dd");
        command.args([&format!("if={PATTERN}"), &format!("of={node}"), "bs=64k", "conv=notrunc"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.closers.push(command.spawn().map_err(|error| format!("cannot start dd: {error}"))?);
        Ok(())
    }

    /// Whether one who closes a device waits in the kernel.
    pub fn closer_hangs(&self) -> bool {
        self.closers.iter().any(|child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('D'))
        })
    }

    /// All of them end.
    pub fn close(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        for mut child in self.holders.drain(..).chain(self.closers.drain(..)) {
            let _ = child.kill();
            while child.try_wait().map_err(|error| error.to_string())?.is_none() {
                if Instant::now() >= end {
                    return Err(format!("process {} does not end", child.id()));
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

fn make_pattern(volume: u64, count: u32) -> Result<(), String> {
    fs::write(PATTERN, pattern(volume, count)).map_err(|error| format!("cannot write {PATTERN}: {error}"))
}

/// Differs from volume to volume, and from write to write.
fn pattern(volume: u64, count: u32) -> Vec<u8> {
    let line = format!("write {count} to volume {volume}\n");
    line.bytes().cycle().take(SIZE).collect()
}
