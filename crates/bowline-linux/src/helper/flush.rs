//! A flush that outlives whoever asked for it.
//!
//! The kernel tells of a lost write once: to the fsync that notices it. A flush that hangs, and is abandoned, ends when
//! the device answers again, and with its process its result would be gone; the next fsync would claim success (D11).
//! So the process of a flush is not killed. It notes in the run directory that it flushes the device, and, should it
//! fail, how; and the next flush of the device joins it instead of standing beside it.
//!
//! The note's name is the kernel's number of the disk that is never used again (`diskseq`, since Linux 5.15); a partition
//! has that of its disk, and its own number beside it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::thread::sleep;
use std::time::Duration;

use bowline_host::names::{BlockName, DevNumber};
use rustix::io::Errno;
use rustix::process::set_parent_process_death_signal;

use super::OperationFailed;

/// Below the run directory, which is the helper's working directory.
const FOLDER: &str = "flushes";
/// A note of another process tells nothing when it changes.
const POLL: Duration = Duration::from_millis(50);

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Note {
    /// This process, started at that tick of the kernel, flushes the device.
    Running { pid: u32, started: u64 },
    /// It failed with that errno, and nobody has been told.
    Failed(i32),
}

/// Where the note of a device lies, below the run directory.
pub(super) fn note_of(run_dir: &Path, device: &BlockName, number: DevNumber) -> PathBuf {
    let read = |attribute: &str| {
        let text = fs::read_to_string(format!("/sys/class/block/{device}/{attribute}"));
        text.map(|text| text.trim().to_owned())
    };
    // The class's link is followed first, so what is above a partition is its disk.
    let of_partition = || Ok(format!("{}p{}", read("../diskseq")?, read("partition")?));
    let sequence: io::Result<String> = read("diskseq").or_else(|_| of_partition());
    let name = sequence.unwrap_or_else(|_| number.to_string().replace(':', "-"));
    run_dir.join(FOLDER).join(name)
}

/// Whether the note says that this process does the flushing: then it must be let alone.
pub(super) fn is_flushing(run_dir: &Path, pid: u32) -> bool {
    let notes = fs::read_dir(run_dir.join(FOLDER)).into_iter().flatten().flatten();
    notes
        .filter_map(|entry| read(&entry.path()).ok().flatten())
        .any(|note| matches!(note, Note::Running { pid: of, .. } if of == pid))
}

/// Flushes with `fsync` after joining a flush that is under way, and leaves a note where it fails. The device is opened only then: who
/// gives up while it waits is killed, and as long as the kernel closes for a dead process that looks like a user's last close.
pub(super) fn flush<D>(
    note: &Path,
    open: impl FnOnce() -> Result<D, OperationFailed>,
    fsync: impl FnOnce(&D) -> Result<(), Errno>,
) -> Result<(), OperationFailed> {
    join(note)?;
    // From here on it must come to its end, whoever dies.
    set_parent_process_death_signal(None)?;
    let device = match open() {
        Ok(device) => device,
        Err(error) => {
            forget(note).map_err(failed)?;
            return Err(error);
        }
    };
    match fsync(&device) {
        Ok(()) => {
            // All is on the device, whatever becomes of the note.
            let _ = forget(note);
            Ok(())
        }
        Err(errno) => {
            // The note comes before the report: whoever gets that removes the note. Without one the report has to do.
            let _ = write(note, &Note::Failed(errno.raw_os_error()));
            Err(OperationFailed { lost_write: true, ..errno.into() })
        }
    }
}

/// Removes the note of a failure, which was told. That of a flush under way stays.
pub(super) fn told(note: &Path) -> io::Result<()> {
    match read(note)? {
        Some(Note::Failed(_)) => forget(note),
        _ => Ok(()),
    }
}

fn forget(note: &Path) -> io::Result<()> {
    match fs::remove_file(note) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits for the flush that is under way, takes over its result, and becomes the one that is noted.
fn join(note: &Path) -> Result<(), OperationFailed> {
    let own = Note::Running { pid: process::id(), started: started(process::id()).unwrap_or(0) };
    loop {
        match read(note).map_err(failed)? {
            None => match create(note, &own) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => return result.map_err(failed),
            },
            Some(Note::Failed(errno)) => {
                let error = io::Error::from_raw_os_error(errno);
                return Err(OperationFailed {
                    errno,
                    detail: format!("an earlier flush, given up before it ended, failed: {error}"),
                    lost_write: true,
                });
            }
            Some(Note::Running { pid, started: at }) if started(pid) == Some(at) => sleep(POLL),
            Some(Note::Running { pid, .. }) => {
                // Between the look at the note and the one at the process it may have come to its end.
                if killed(note, pid) {
                    write(note, &Note::Failed(Errno::IO.raw_os_error())).map_err(failed)?;
                }
            }
        }
    }
}

/// Whether a note is still that of a process that is gone: then nobody knows how its flush ended.
fn killed(note: &Path, of: u32) -> bool {
    matches!(read(note), Ok(Some(Note::Running { pid, started: at })) if pid == of && started(pid) != Some(at))
}

fn read(note: &Path) -> io::Result<Option<Note>> {
    let text = match fs::read_to_string(note) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut words = text.split_whitespace();
    let parsed = match (words.next(), words.next(), words.next()) {
        (Some("running"), Some(pid), Some(at)) => {
            pid.parse().ok().zip(at.parse().ok()).map(|(pid, started)| Note::Running { pid, started })
        }
        (Some("failed"), Some(errno), None) => errno.parse().ok().map(Note::Failed),
        _ => None,
    };
    parsed.map(Some).ok_or_else(|| {
        io::Error::new(
            ErrorKind::InvalidData,
            format!("{} is damaged; remove it to flush again", note.display()),
        )
    })
}

impl Note {
    fn text(&self) -> String {
        match self {
            Self::Running { pid, started } => format!("running {pid} {started}\n"),
            Self::Failed(errno) => format!("failed {errno}\n"),
        }
    }
}

/// Puts a whole note where none is: written aside, then linked.
fn create(note: &Path, content: &Note) -> io::Result<()> {
    let aside = aside(note, content)?;
    let linked = fs::hard_link(&aside, note);
    fs::remove_file(&aside)?;
    linked
}

fn write(note: &Path, content: &Note) -> io::Result<()> {
    fs::rename(aside(note, content)?, note)
}

fn aside(note: &Path, content: &Note) -> io::Result<PathBuf> {
    let folder = note.parent().unwrap_or(Path::new(FOLDER));
    fs::create_dir_all(folder)?;
    let path = folder.join(format!(".{}", process::id()));
    fs::write(&path, content.text())?;
    Ok(path)
}

/// When a living process began (field 22 of /proc/PID/stat, in ticks since the boot): numbers are used again.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

fn failed(error: io::Error) -> OperationFailed {
    OperationFailed {
        errno: error.raw_os_error().unwrap_or(libc::EIO),
        detail: format!("the note of the flush: {error}"),
        // Nothing was asked of the device.
        lost_write: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn opened() -> Result<(), OperationFailed> {
        Ok(())
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("bowline-flush-{}-{name}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir.join("7")
    }

    #[test]
    fn a_flush_leaves_a_note_only_when_it_fails() {
        let note = scratch("plain");
        flush(&note, opened, |()| {
            assert!(matches!(read(&note).unwrap(), Some(Note::Running { pid, .. }) if pid == process::id()));
            Ok(())
        })
        .unwrap();
        assert_eq!(read(&note).unwrap(), None);
        let gone = || Err::<(), _>(Errno::NOENT.into());
        let failed = flush(&note, gone, |()| unreachable!()).unwrap_err();
        assert!(failed.errno == libc::ENOENT && !failed.lost_write, "{failed:?}");
        assert_eq!(read(&note).unwrap(), None, "nothing was asked, so nothing was lost");
        fs::remove_dir_all(note.parent().unwrap()).unwrap();
    }

    /// D11: with whatever number the device answers, the kernel does not tell of it again.
    #[test]
    fn d11_every_error_of_the_device_is_a_lost_write() {
        let note = scratch("numbers");
        for errno in [Errno::IO, Errno::NOSPC, Errno::NODATA, Errno::REMOTEIO, Errno::TIMEDOUT, Errno::NOLINK]
        {
            let failed = flush(&note, opened, |()| Err(errno)).unwrap_err();
            assert!(failed.lost_write && failed.errno == errno.raw_os_error(), "{failed:?}");
            assert_eq!(read(&note).unwrap(), Some(Note::Failed(errno.raw_os_error())));
            told(&note).unwrap();
        }
        fs::remove_dir_all(note.parent().unwrap()).unwrap();
    }

    /// D11: where no note can be made nothing was asked of the device, so nothing is lost, and the next try may succeed.
    #[test]
    fn d11_a_note_that_cannot_be_made_is_no_lost_write() {
        let folder = scratch("full").parent().unwrap().join("file");
        fs::write(&folder, "no folder").unwrap();
        let failed = flush(&folder.join("7"), opened, |()| unreachable!()).unwrap_err();
        assert!(!failed.lost_write && failed.detail.contains("the note of the flush"), "{failed:?}");
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    /// D11: the kernel has told of a lost write, though nobody listened: the next flush says so, and does not ask again.
    #[test]
    fn d11_a_failure_that_nobody_was_told_of_is_told_by_the_next_flush() {
        let note = scratch("told");
        write(&note, &Note::Failed(libc::EIO)).unwrap();
        let failed = flush(&note, opened, |()| panic!("a second fsync would claim success")).unwrap_err();
        assert!(failed.lost_write && failed.detail.contains("an earlier flush"), "{failed:?}");
        fs::remove_dir_all(note.parent().unwrap()).unwrap();
    }

    #[test]
    fn d11_a_flush_that_was_killed_counts_as_failed() {
        let note = scratch("killed");
        write(&note, &Note::Running { pid: u32::MAX - 1, started: 1 }).unwrap();
        assert!(flush(&note, opened, |()| panic!("not before that was told")).unwrap_err().lost_write);
        fs::remove_dir_all(note.parent().unwrap()).unwrap();
    }

    /// D7: while it waits it has nothing open, so that nothing is closed when it is given up.
    #[test]
    fn d11_a_flush_under_way_is_joined() {
        let note = scratch("joined");
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let at = started(other.id()).unwrap();
        write(&note, &Note::Running { pid: other.id(), started: at }).unwrap();
        let is_open = Arc::new(AtomicBool::new(false));
        let joining = {
            let opens = Arc::clone(&is_open);
            let note = note.clone();
            let open = move || {
                opens.store(true, Ordering::SeqCst);
                Ok(())
            };
            std::thread::spawn(move || flush(&note, open, |()| Ok(())))
        };
        sleep(POLL * 4);
        assert!(!joining.is_finished() && !is_open.load(Ordering::SeqCst));
        forget(&note).unwrap();
        joining.join().unwrap().unwrap();
        assert!(is_open.load(Ordering::SeqCst));
        other.kill().unwrap();
        other.wait().unwrap();
        fs::remove_dir_all(note.parent().unwrap()).unwrap();
    }
}
