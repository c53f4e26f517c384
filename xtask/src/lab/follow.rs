//! Following a guest to its verdict: its output out, a watch on its time.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lab_wire::{Context, Failure, Frame};

use super::command::tail;
use super::machine::Machine;
use super::steps::Steps;

/// From power on to the script's start; generous, because other work may share the processors.
const BOOT_LIMIT: Duration = Duration::from_secs(240);
/// The guest watches the script's time itself and says what hung. If it does not, it hangs as a whole.
const GUEST_GRACE: Duration = Duration::from_secs(20);

/// How a run ended.
pub enum Verdict {
    /// The script ended with this code.
    Ended(i32),
    /// The script was still running at its limit; what the guest saw then.
    ScriptHung(String),
    /// The guest itself no longer answered.
    GuestHung,
    /// The guest went away, or could not be made ready; its last words, and QEMU's.
    Died(String),
}

impl Verdict {
    /// The run's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            // As a shell does it: the low byte, and never success for a failure.
            Self::Ended(code) => {
                u8::try_from(code & 0xff).map_or(1, |low| if low == 0 && *code != 0 { 1 } else { low })
            }
            Self::ScriptHung(_) | Self::GuestHung => 124,
            Self::Died(_) => 125,
        }
    }

    /// The verdict in a sentence.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Ended(_) => "the script ended",
            Self::ScriptHung(_) => "the script HUNG: still running at its time limit",
            Self::GuestHung => "the guest HUNG: it no longer answers",
            Self::Died(_) => "the guest DIED before the script ended",
        }
    }

    /// The verdict's line on standard error; before it, for anything but an end, all that may explain it.
    pub fn report(&self, console: &Path) {
        let sentence = self.sentence();
        let seen = match self {
            Self::Ended(code) => return eprintln!("lab: VERDICT {sentence} with exit code {code}"),
            Self::ScriptHung(seen) | Self::Died(seen) => seen.as_str(),
            Self::GuestHung => "",
        };
        let console = fs::read(console).unwrap_or_default();
        eprintln!("lab: the console's last lines:\n{}", tail(&String::from_utf8_lossy(&console), 60));
        eprintln!("lab: what was seen last:\n{}", seen.trim_end());
        eprintln!("lab: VERDICT {sentence}");
    }
}

/// Passes the guest's frames on until the last one, or until its time is over: all of it, or where it says nothing for as long as it may be
/// `silent`.
pub fn follow(
    mut machine: Machine,
    timeout: Duration,
    silent: Option<Duration>,
    out: Option<&Path>,
    mut output: impl FnMut(Stream, &[u8]) -> Result<(), Failure>,
    steps: &mut Steps,
) -> Result<Verdict, Failure> {
    let frames = receive(&mut machine)?;
    let mut collector = Collector::new(out);
    let mut deadline = Instant::now() + BOOT_LIMIT;
    let mut last_words = String::new();
    let mut heard = Instant::now();
    let verdict = loop {
        let by = silent.map_or(deadline, |silent| deadline.min(heard + silent.max(BOOT_LIMIT)));
        match frames.recv_timeout(by.saturating_duration_since(Instant::now())) {
            Ok(Ok(Frame::Stdout(bytes))) => {
                heard = Instant::now();
                output(Stream::Out, &bytes)?;
            }
            Ok(Ok(Frame::Stderr(bytes))) => output(Stream::Err, &bytes)?,
            Ok(Ok(Frame::Note(text))) => {
                steps.say(&format!("guest: {text}"));
                last_words = text;
            }
            Ok(Ok(Frame::Ready)) => {
                steps.say("ready, the script starts");
                deadline = Instant::now() + timeout + GUEST_GRACE;
            }
            Ok(Ok(Frame::Collected(bytes))) => collector.take(&bytes)?,
            Ok(Ok(Frame::Exit(code))) => break Verdict::Ended(code),
            Ok(Ok(Frame::Hung(seen))) => break Verdict::ScriptHung(seen),
            Ok(Err(broken)) => {
                break Verdict::Died(format!("{broken}\n{last_words}\n{}", machine.complaints()));
            }
            Err(RecvTimeoutError::Timeout) => break Verdict::GuestHung,
            Err(RecvTimeoutError::Disconnected) => {
                break Verdict::Died(format!("{last_words}\n{}", machine.complaints()));
            }
        }
    };
    steps.say("over");
    collector.end()?;
    Ok(verdict)
}

/// Reads frames in a thread of its own, so that waiting for one has a limit.
fn receive(machine: &mut Machine) -> Result<Receiver<io::Result<Frame>>, Failure> {
    let mut stream = io::BufReader::new(machine.stream()?);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while let Some(frame) = Frame::read_from(&mut stream).transpose() {
            let broken = frame.is_err();
            if sender.send(frame).is_err() || broken {
                break;
            }
        }
    });
    Ok(receiver)
}

/// Where the script wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// To its standard output.
    Out,
    /// To its standard error.
    Err,
}

/// Passes the script's output on to where it would have gone without a guest.
pub fn pass(stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
    let write = |to: &mut dyn Write| to.write_all(bytes).and_then(|()| to.flush());
    match stream {
        Stream::Out => write(&mut io::stdout().lock()),
        Stream::Err => write(&mut io::stderr().lock()),
    }
    .context(|| "cannot pass on the script's output")
}

/// Unpacks what the guest sends of `/out`.
struct Collector<'a> {
    folder: Option<&'a Path>,
    tar: Option<Child>,
}

impl<'a> Collector<'a> {
    fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, tar: None }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(folder) = self.folder else { return Ok(()) };
        if self.tar.is_none() {
            fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
            let mut tar = Command::new("tar");
            tar.args(["-x", "--no-same-owner", "-C"]).arg(folder).stdin(Stdio::piped());
            self.tar = Some(tar.spawn().context(|| "cannot start tar")?);
        }
        let input = self.tar.as_mut().and_then(|tar| tar.stdin.as_mut());
        input.map_or(Ok(()), |input| input.write_all(bytes)).context(|| "cannot unpack what the script left")
    }

    fn end(self) -> Result<(), Failure> {
        let Some(mut tar) = self.tar else { return Ok(()) };
        drop(tar.stdin.take());
        match tar.wait().context(|| "cannot wait for tar")? {
            status if status.success() => Ok(()),
            status => Err(Failure::new(format!("tar could not unpack what the script left ({status})"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(Verdict::Ended(0).exit_code(), 0);
        assert_eq!(Verdict::Ended(7).exit_code(), 7);
        assert_eq!(Verdict::Ended(256).exit_code(), 1);
        assert_eq!(Verdict::GuestHung.exit_code(), 124);
        assert_eq!(Verdict::Died(String::new()).exit_code(), 125);
    }
}
