//! Data through the device: a pattern that nobody could have by chance, written, read back, and looked for on the target.
//!
//! What touches the device is a process of its own with a limit, because it may hang in the kernel for as long as the
//! paths are dead.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use lab_wire::{Context, Failure};
use rustix::fs::OFlags;

/// Where a volume's signature lies: what is written by a run stays below it.
const SIGNATURE_AT: u64 = 60 << 20;
/// As long as one block of it.
pub const SIGNATURE_BYTES: usize = 4096;
/// Direct I/O goes in pieces of this size, and from memory that is aligned to a page.
const PIECE: usize = 64 << 10;
const PAGE: usize = 4096;
/// Where the laboratory's target keeps its volumes.
const VOLUMES: &str = "/run/volumes";
/// A process that was killed has so long to die.
pub const DYING_LIMIT: Duration = Duration::from_secs(240);
/// How often a process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One access to a device.
#[derive(Args)]
pub struct Job {
    /// What to do
    access: Access,
    /// The device
    device: PathBuf,
    /// From this byte on
    offset: u64,
    /// So many bytes
    bytes: usize,
    /// The pattern
    seed: u64,
}

/// How a device is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Access {
    /// Past the page cache, and synced
    Write,
    /// Into the page cache; the last close writes it back
    Dirty,
    /// Past the page cache, and compared
    Read,
}

/// How an access ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Done; for a read: it is what it should be.
    Well,
    /// What is read is something else.
    Differs,
    /// It failed, and said why.
    Failed(String),
    /// It was not over at its limit, and was killed.
    Hung {
        /// It did not die of that: it hangs in the kernel, with the device open.
        holds: bool,
    },
}

/// The process that accesses the device: 0, 1 where what is read differs, 2 where it fails.
pub fn main(job: &Job) -> Result<ExitCode, Failure> {
    let expected = pattern(job.seed, job.bytes);
    let done = match job.access {
        Access::Write => write(job, &expected, OFlags::DIRECT).map(|()| true),
        Access::Dirty => write(job, &expected, OFlags::empty()).map(|()| true),
        Access::Read => read(job).map(|seen| seen == expected),
    };
    let same = done.context(|| format!("cannot access {} ({:?})", job.device.display(), job.access))?;
    Ok(ExitCode::from(u8::from(!same)))
}

fn write(job: &Job, pattern: &[u8], flags: OFlags) -> io::Result<()> {
    let file = open(&job.device, OpenOptions::new().write(true), flags)?;
    let mut memory = vec![0; PIECE + PAGE];
    let aligned = aligned(&mut memory);
    for (at, piece) in (job.offset..).step_by(PIECE).zip(pattern.chunks(PIECE)) {
        aligned[..piece.len()].copy_from_slice(piece);
        file.write_all_at(&aligned[..piece.len()], at)?;
    }
    match flags.contains(OFlags::DIRECT) {
        true => file.sync_data(),
        false => Ok(()),
    }
}

fn read(job: &Job) -> io::Result<Vec<u8>> {
    let file = open(&job.device, OpenOptions::new().read(true), OFlags::DIRECT)?;
    let mut memory = vec![0; PIECE + PAGE];
    let aligned = aligned(&mut memory);
    let mut seen = Vec::with_capacity(job.bytes);
    while seen.len() < job.bytes {
        let wanted = PIECE.min(job.bytes - seen.len());
        file.read_exact_at(&mut aligned[..wanted], job.offset + seen.len() as u64)?;
        seen.extend_from_slice(&aligned[..wanted]);
    }
    Ok(seen)
}

fn open(device: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    options.custom_flags(flags.bits().cast_signed()).open(device)
}

/// The part of the memory that begins at a page.
fn aligned(memory: &mut [u8]) -> &mut [u8] {
    let skip = memory.as_ptr().align_offset(PAGE);
    &mut memory[skip..]
}

/// Bytes that follow from the seed, and from nothing else (splitmix64).
pub fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// An access under way in a process of its own.
pub struct Accessing {
    child: Child,
    began: Instant,
}

/// Begins an access.
///
/// # Errors
/// The process cannot be started.
pub fn begin(
    access: Access,
    device: &Path,
    offset: u64,
    bytes: usize,
    seed: u64,
) -> Result<Accessing, Failure> {
    let program = std::env::current_exe().context(|| "cannot find this program")?;
    let access = access.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(program);
    command.args(["data", &access]).arg(device).args([
        offset.to_string(),
        bytes.to_string(),
        seed.to_string(),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().context(|| "cannot start the process that accesses the device")?;
    Ok(Accessing { child, began: Instant::now() })
}

impl Accessing {
    /// Waits for its end, but not longer than this. Where it hangs it is killed, and waited for once more: as long as it is there it has
    /// the device open, and whether it dies is up to the kernel.
    pub fn ended(&mut self, limit: Duration) -> Ended {
        match self.ended_by_itself(limit) {
            Ended::Hung { .. } => {
                let _ = self.child.kill();
                let still = self.ended_by_itself(DYING_LIMIT);
                Ended::Hung { holds: matches!(still, Ended::Hung { .. }) }
            }
            ended => ended,
        }
    }

    fn ended_by_itself(&mut self, limit: Duration) -> Ended {
        let end = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ended::Well,
                Ok(Some(status)) if status.code() == Some(1) => return Ended::Differs,
                Ok(Some(_)) => return Ended::Failed(self.said()),
                Ok(None) if Instant::now() < end => thread::sleep(LOOK_AGAIN),
                Ok(None) => return Ended::Hung { holds: true },
                Err(error) => return Ended::Failed(error.to_string()),
            }
        }
    }

    /// Whether it hangs in the kernel now (proc(5), `stat`: its name, which may have any character but a bracket at its end, then
    /// its state).
    pub fn hangs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('D'))
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn said(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            let _ = stderr.read_to_string(&mut said);
        }
        said.trim().to_owned()
    }
}

/// Begins an access and waits for its end.
pub fn access(
    access: Access,
    device: &Path,
    offset: u64,
    bytes: usize,
    seed: u64,
    limit: Duration,
) -> Result<(Ended, f64), Failure> {
    let mut under_way = begin(access, device, offset, bytes, seed)?;
    let ended = under_way.ended(limit);
    Ok((ended, under_way.seconds()))
}

/// Empties a volume on the target, and signs it.
pub fn sign(volume: u16, seed: u64) -> Result<(), Failure> {
    let file = on_target(volume, OpenOptions::new().write(true))?;
    let size = file.metadata().context(|| "cannot see a volume's size")?.len();
    let emptied = file.set_len(0).and_then(|()| file.set_len(size));
    let signed = emptied
        .and_then(|()| file.write_all_at(&pattern(signature(volume, seed), SIGNATURE_BYTES), SIGNATURE_AT));
    signed.context(|| format!("cannot sign volume {volume}"))
}

/// Whether a device is that volume; unknown where it cannot be read in time.
pub fn is_volume(device: &Path, volume: u16, seed: u64, limit: Duration) -> Result<Option<bool>, Failure> {
    let signature = signature(volume, seed);
    Ok(match access(Access::Read, device, SIGNATURE_AT, SIGNATURE_BYTES, signature, limit)?.0 {
        Ended::Well => Some(true),
        Ended::Differs => Some(false),
        Ended::Failed(_) | Ended::Hung { .. } => None,
    })
}

/// Whether the target has the pattern on the volume.
pub fn target_has(volume: u16, offset: u64, bytes: usize, seed: u64) -> Result<bool, Failure> {
    let file = on_target(volume, OpenOptions::new().read(true))?;
    let mut seen = vec![0; bytes];
    file.read_exact_at(&mut seen, offset).context(|| format!("cannot read volume {volume} on the target"))?;
    Ok(seen == pattern(seed, bytes))
}

fn on_target(volume: u16, options: &OpenOptions) -> Result<File, Failure> {
    let path = Path::new(VOLUMES).join(format!("vol{volume}"));
    options.open(&path).context(|| format!("cannot open {}", path.display()))
}

fn signature(volume: u16, seed: u64) -> u64 {
    !seed ^ u64::from(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_follow_from_their_seed() {
        assert_eq!(pattern(7, 100), pattern(7, 200)[..100]);
        assert_ne!(pattern(7, 64), pattern(8, 64));
    }

    #[test]
    fn memory_for_direct_access_begins_at_a_page() {
        let mut memory = vec![0; PIECE + PAGE];
        let aligned = aligned(&mut memory);
        assert_eq!(aligned.as_ptr().align_offset(PAGE), 0);
        assert!(aligned.len() >= PIECE);
    }
}
