//! bowline's command, as an operator or a script uses it: started for each call.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab_experiment::Outcome;
use lab_wire::{Context, Failure};
use rustix::process::Signal;
use serde_json::Value;

use super::memory::peak;
use super::{Answer, Contend, DYING_LIMIT, One, Volume, together};
use crate::counter::Counter;

/// How often the process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// And one's memory.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(50);
/// Where files for a call are put.
const FOLDER: &str = "/run/experiment";

/// The command.
pub struct Bowline {
    version: String,
    /// For an attach, in the command's own words; its default where there is none.
    deadline: Option<String>,
}

impl Bowline {
    /// Finds out its version.
    pub fn ready(deadline: Option<Duration>) -> Result<Self, Failure> {
        fs::create_dir_all(FOLDER).context(|| format!("cannot make {FOLDER}"))?;
        let output = Command::new("bowline").arg("--version").output().context(|| "cannot start bowline")?;
        let deadline = deadline.map(|deadline| format!("{}s", deadline.as_secs()));
        Ok(Self { version: String::from_utf8_lossy(&output.stdout).trim().to_owned(), deadline })
    }

    fn call(verb: &str, volumes: &[Volume], options: &[&str], limit: Duration) -> Result<Answer, Failure> {
        let calls: Vec<Call> = volumes
            .iter()
            .zip(1..)
            .map(|(volume, number)| Call::of(number, volume))
            .collect::<Result<_, _>>()?;
        let counter = Counter::begin(&[rustix::thread::gettid().as_raw_nonzero().to_string()]);
        let began = Instant::now();
        let mut children: Vec<Child> =
            calls.iter().map(|call| call.start(verb, options)).collect::<Result<_, _>>()?;
        let (ends, memory) = ended(&mut children, began + limit)?;
        let seconds = began.elapsed().as_secs_f64();
        let programs = counter.and_then(Counter::end);
        let all = calls.iter().zip(ends).map(|(call, end)| told(&call.said(), end, seconds)).collect();
        let (step, devices) = together(all, seconds, programs, memory);
        let events = calls.first().map(Call::events).unwrap_or_default();
        Ok(Answer { step, devices, events })
    }
}

impl Contend for Bowline {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn attach(&mut self, volumes: &[Volume], limit: Duration) -> Result<Answer, Failure> {
        let single = volumes.iter().any(|volume| !volume.multipath).then_some("--single-path");
        let deadline = self.deadline.iter().flat_map(|deadline| ["--deadline", deadline]);
        Self::call("connect", volumes, &single.into_iter().chain(deadline).collect::<Vec<_>>(), limit)
    }

    fn detach(&mut self, volumes: &[Volume], force: bool, limit: Duration) -> Result<Answer, Failure> {
        Self::call("disconnect", volumes, if force { &["--force"] } else { &[] }, limit)
    }
}

/// One start of the command, and the files it reads and writes.
struct Call {
    connection: PathBuf,
    answer: PathBuf,
    progress: PathBuf,
}

impl Call {
    fn of(number: usize, volume: &Volume) -> Result<Self, Failure> {
        let file = |name: &str| Path::new(FOLDER).join(format!("{number}-{name}"));
        let call = Self {
            connection: file("connection.json"),
            answer: file("answer.json"),
            progress: file("progress"),
        };
        fs::write(&call.connection, volume.connection.to_string())
            .context(|| "cannot write the connection")?;
        Ok(call)
    }

    fn start(&self, verb: &str, options: &[&str]) -> Result<Child, Failure> {
        let create = |file: &Path| File::create(file).context(|| format!("cannot make {}", file.display()));
        let mut command = Command::new("bowline");
        command.arg(verb).arg(&self.connection).args(["--json", "--progress", "json"]).args(options);
        command.stdin(Stdio::null()).stdout(create(&self.answer)?).stderr(create(&self.progress)?);
        command.spawn().context(|| "cannot start bowline")
    }

    /// What it has written, whole or not.
    fn said(&self) -> Vec<u8> {
        fs::read(&self.answer).unwrap_or_default()
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.progress).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal that is not ours.
    Signal(i32),
    /// We killed it, whether it died of that in time or not.
    Killed,
}

impl End {
    fn of(status: ExitStatus, killed: bool) -> Self {
        match (status.code(), status.signal().unwrap_or_default()) {
            (Some(code), _) => Self::Exit(code),
            (None, signal) if killed && signal == Signal::KILL.as_raw() => Self::Killed,
            (None, signal) => Self::Signal(signal),
        }
    }
}

/// What became of one call. Without an answer it is not known what it did, whatever its exit code.
fn told(answer: &[u8], end: End, seconds: f64) -> One {
    let said: Option<Value> = serde_json::from_slice(answer).ok();
    let (outcome, error) = match (end, &said) {
        (End::Killed, _) => (Outcome::Killed, Some(format!("killed after {seconds:.1} s"))),
        (End::Signal(signal), _) => (Outcome::Died, Some(format!("ended by signal {signal}"))),
        (End::Exit(code), None) => (Outcome::Died, Some(format!("exit code {code} without an answer"))),
        (End::Exit(0), Some(_)) => (Outcome::Ok, None),
        (End::Exit(code), Some(said)) => {
            (Outcome::Failed, Some(format!("exit code {code}: {}", sentence(said))))
        }
    };
    let said = said.unwrap_or_default();
    let loss_told = said["outcome"] == "data_may_be_lost";
    One { outcome, error, device: said["device_node"].as_str().map(str::to_owned), loss_told }
}

/// The error in a sentence, with its causes.
fn sentence(said: &Value) -> String {
    let causes = said["error"]["causes"].as_array().into_iter().flatten();
    let parts = std::iter::once(&said["error"]["message"]).chain(causes);
    parts.filter_map(Value::as_str).collect::<Vec<_>>().join(": ")
}

/// Waits for the processes, and kills at the limit those that are there: how they ended, and the most memory that each was
/// seen to have with its helper, added up, in KiB. They are looked at while they live: what wait4(2) tells begins with the memory of who
/// started one.
fn ended(children: &mut [Child], limit: Instant) -> Result<(Vec<End>, Option<u64>), Failure> {
    let mut ends: Vec<Option<End>> = vec![None; children.len()];
    let mut killed = false;
    let (mut memory, mut look_next) = (vec![None; children.len()], Instant::now());
    while ends.iter().any(Option::is_none) && Instant::now() < limit + DYING_LIMIT {
        let kill = !killed && Instant::now() >= limit;
        if Instant::now() >= look_next {
            for (child, memory) in children.iter().zip(&mut memory) {
                *memory = peak(child.id()).max(*memory);
            }
            // As often for all of them together as for one, so that looking costs many no more than it costs few.
            look_next = Instant::now() + LOOK_AT_MEMORY * u32::try_from(children.len()).unwrap_or(1);
        }
        for (child, end) in children.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
            let status = child.try_wait().context(|| "cannot wait for bowline")?;
            *end = status.map(|status| End::of(status, killed));
            if end.is_none() && kill {
                child.kill().context(|| "cannot kill bowline")?;
            }
        }
        killed |= kill;
        thread::sleep(LOOK_AGAIN);
    }
    let memory = memory.into_iter().sum::<Option<u64>>();
    Ok((ends.into_iter().map(|end| end.unwrap_or(End::Killed)).collect(), memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &[u8] = br#"{"schema":1,"device_node":"/dev/mapper/a","outcome":"detached"}"#;
    const REFUSED: &[u8] = br#"{"error":{"message":"no","causes":["busy"]}}"#;

    fn told_of(answer: &[u8], end: End) -> (Outcome, Option<String>) {
        let One { outcome, error, .. } = told(answer, end, 2.0);
        (outcome, error)
    }

    #[test]
    fn an_answer_and_an_exit_code_tell_together() {
        assert_eq!(told_of(DONE, End::Exit(0)), (Outcome::Ok, None));
        assert_eq!(told(DONE, End::Exit(0), 2.0).device.as_deref(), Some("/dev/mapper/a"));
        let refused = (Outcome::Failed, Some("exit code 5: no: busy".to_owned()));
        assert_eq!(told_of(REFUSED, End::Exit(5)), refused);
        let loss = told(br#"{"outcome":"data_may_be_lost"}"#, End::Exit(0), 2.0);
        assert!(loss.loss_told && !told(DONE, End::Exit(0), 2.0).loss_told);
    }

    #[test]
    fn who_does_not_answer_has_died() {
        for answer in [&b""[..], b"thread 'main' panicked", &DONE[..20]] {
            for code in [0, 1, 101] {
                let (outcome, error) = told_of(answer, End::Exit(code));
                assert_eq!(
                    (outcome, error),
                    (Outcome::Died, Some(format!("exit code {code} without an answer")))
                );
            }
        }
    }

    #[test]
    fn only_who_was_killed_by_us_was_killed() {
        assert_eq!(told_of(b"", End::Killed), (Outcome::Killed, Some("killed after 2.0 s".to_owned())));
        assert_eq!(told_of(b"", End::Signal(9)), (Outcome::Died, Some("ended by signal 9".to_owned())));
    }

    #[test]
    fn processes_end_by_themselves_by_a_signal_or_by_us() {
        let ends = |scripts: &[&str], limit| {
            let start = |script: &&str| Command::new("sh").args(["-c", script]).spawn().unwrap();
            let mut children: Vec<Child> = scripts.iter().map(start).collect();
            ended(&mut children, Instant::now() + limit).unwrap().0
        };
        let alone = ends(&["exit 0", "exit 101", "kill -SEGV $$", "kill -KILL $$"], Duration::from_secs(60));
        assert_eq!(alone, [End::Exit(0), End::Exit(101), End::Signal(11), End::Signal(9)]);
        assert_eq!(ends(&["exec sleep 60"], Duration::from_millis(100)), [End::Killed]);
    }
}
