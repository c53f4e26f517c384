//! bowline's command, as an operator or a script uses it: started for each call.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab_experiment::Outcome;
use lab_wire::{Context, Failure};
use serde_json::Value;

use super::resident::peak;
use super::{Answer, Contend, One, Volume, together};
use crate::counter::Counter;
use crate::programs::is;

/// How often the process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// And one's memory.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(50);
/// What does whatever may block for a command; the kernel keeps 15 characters of a name.
const HELPER: &str = "bowline-helper";
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
        let (codes, memory) = ended(&mut children, began + limit)?;
        let seconds = began.elapsed().as_secs_f64();
        let programs = counter.and_then(Counter::end);
        let all = calls.iter().zip(codes).map(|(call, code)| call.told(code, seconds)).collect();
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

    /// By its exit code; nothing where a signal ended it.
    fn told(&self, code: Option<i32>, seconds: f64) -> One {
        let said: Value = fs::read(&self.answer)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let (outcome, error) = match code {
            Some(0) => (Outcome::Ok, None),
            Some(code) => (Outcome::Failed, Some(format!("exit code {code}: {}", sentence(&said)))),
            None => (Outcome::Killed, Some(format!("killed after {seconds:.1} s"))),
        };
        let loss_told = said["outcome"] == "data_may_be_lost";
        One { outcome, error, device: said["device_node"].as_str().map(str::to_owned), loss_told }
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.progress).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// The error in a sentence, with its causes.
fn sentence(said: &Value) -> String {
    let causes = said["error"]["causes"].as_array().into_iter().flatten();
    let parts = std::iter::once(&said["error"]["message"]).chain(causes);
    parts.filter_map(Value::as_str).collect::<Vec<_>>().join(": ")
}

/// Waits for the processes, and kills at the limit those that are there: their exit codes, and the most memory that each was
/// seen to have with its helper, added up, in KiB. They are looked at while they live: what wait4(2) tells begins with the memory of who
/// started one.
fn ended(children: &mut [Child], limit: Instant) -> Result<(Vec<Option<i32>>, Option<u64>), Failure> {
    let mut ends: Vec<Option<ExitStatus>> = vec![None; children.len()];
    let mut killed = false;
    let (mut memory, mut look_next) = (vec![None; children.len()], Instant::now());
    while ends.iter().any(Option::is_none) {
        let kill = !killed && Instant::now() >= limit;
        killed |= kill;
        if Instant::now() >= look_next {
            for (child, memory) in children.iter().zip(&mut memory) {
                *memory = with_helper(child.id()).max(*memory);
            }
            // As often for all of them together as for one, so that looking costs many no more than it costs few.
            look_next = Instant::now() + LOOK_AT_MEMORY * u32::try_from(children.len()).unwrap_or(1);
        }
        for (child, end) in children.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
            *end = child.try_wait().context(|| "cannot wait for bowline")?;
            if end.is_none() && kill {
                child.kill().context(|| "cannot kill bowline")?;
            }
        }
        thread::sleep(LOOK_AGAIN);
    }
    let memory = memory.into_iter().sum::<Option<u64>>();
    Ok((ends.into_iter().flatten().map(|status| status.code()).collect(), memory))
}

/// The peaks of a command and of the helpers it has started, in KiB. Programs of others that it starts are counted by their number.
fn with_helper(command: u32) -> Option<u64> {
    let own = peak(command)?;
    let children = fs::read_to_string(format!("/proc/{command}/task/{command}/children")).unwrap_or_default();
    let is_helper = |child: &u32| is(*child, HELPER);
    let helpers = children.split_whitespace().filter_map(|child| child.parse().ok()).filter(is_helper);
    Some(own + helpers.filter_map(peak).sum::<u64>())
}
