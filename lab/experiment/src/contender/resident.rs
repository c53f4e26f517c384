//! A contender in a process that lives on, as Nova's and Cinder's services are. It reads a request a line from its
//! standard input and answers each with a line that has the same id, both JSON; its first line is its version.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lab_experiment::Outcome;
use lab_wire::{Context, Failure};
use serde_json::{Value, json};

use super::memory::{forget_peak, peak};
use super::{Answer, Contend, DYING_LIMIT, One, START_LIMIT, Volume, together};
use crate::counter::{Counter, threads_of};

/// How often one that was killed is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// What it says meanwhile.
const LOG: &str = "/var/log/contender.log";

/// The process, while it lives.
pub struct Resident {
    words: Vec<String>,
    /// Of an attach; its own where there is none.
    deadline: Option<Duration>,
    version: String,
    live: Option<Live>,
}

struct Live {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
}

impl Resident {
    /// Starts it, and waits until it is ready.
    pub fn ready(words: &[&str], deadline: Option<Duration>) -> Result<Self, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (version, live) = start(&words)?;
        Ok(Self { words, deadline, version, live: Some(live) })
    }

    fn call(
        &mut self,
        verb: &str,
        volumes: &[Volume],
        force: bool,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => start(&self.words)?.1,
        };
        let deadline = self.deadline.map(|deadline| deadline.as_secs());
        let request = |(id, volume): (usize, &Volume)| {
            let Volume { connection, multipath } = volume;
            json!({
                "id": id, "verb": verb, "connection": connection, "multipath": multipath, "force": force,
                "deadline": deadline,
            })
        };
        let requests: Vec<Value> = volumes.iter().enumerate().map(request).collect();
        let process = live.child.id();
        forget_peak(process);
        let counter = Counter::begin(&threads_of(process));
        let began = Instant::now();
        let (answers, cut) = live.ask(&requests, began + limit);
        let seconds = began.elapsed().as_secs_f64();
        let programs = counter.and_then(Counter::end);
        let memory = peak(process);
        let all = answers.into_iter().map(|answer| told(answer, cut, seconds)).collect();
        let (step, devices) = together(all, seconds, programs, memory);
        if cut.is_none() {
            self.live = Some(live);
        }
        Ok(Answer { step, devices, events: Vec::new() })
    }
}

impl Contend for Resident {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn attach(&mut self, volumes: &[Volume], limit: Duration) -> Result<Answer, Failure> {
        self.call("attach", volumes, false, limit)
    }

    fn detach(&mut self, volumes: &[Volume], force: bool, limit: Duration) -> Result<Answer, Failure> {
        self.call("detach", volumes, force, limit)
    }
}

/// What became of one request; `cut` is why there are no more answers.
fn told(answer: Option<Value>, cut: Option<RecvTimeoutError>, seconds: f64) -> One {
    let (outcome, error) = match (&answer, cut) {
        (Some(answer), _) => match answer["error"].as_str() {
            None => (Outcome::Ok, None),
            Some(error) => (Outcome::Failed, Some(error.to_owned())),
        },
        (None, Some(RecvTimeoutError::Timeout)) => {
            (Outcome::Killed, Some(format!("killed after {seconds:.1} s")))
        }
        (None, _) => (Outcome::Died, Some("it ended without an answer".to_owned())),
    };
    let answer = answer.unwrap_or_default();
    let loss_told = answer["data_may_be_lost"] == true;
    One { outcome, error, device: answer["device"].as_str().map(str::to_owned), loss_told }
}

impl Live {
    /// Sends all requests, and collects their answers; where some do not come, why.
    fn ask(&mut self, requests: &[Value], limit: Instant) -> (Vec<Option<Value>>, Option<RecvTimeoutError>) {
        let mut answers = vec![None; requests.len()];
        let sent = requests.iter().try_for_each(|request| writeln!(self.requests, "{request}"));
        if sent.and_then(|()| self.requests.flush()).is_err() {
            return (answers, Some(RecvTimeoutError::Disconnected));
        }
        while answers.iter().any(Option::is_none) {
            let answer: Value =
                match self.answers.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                    Ok(answer) => answer,
                    Err(why) => return (answers, Some(why)),
                };
            let number = answer["id"].as_u64().and_then(|id| usize::try_from(id).ok());
            if let Some(place) = number.and_then(|number| answers.get_mut(number)) {
                *place = Some(answer);
            }
        }
        (answers, None)
    }
}

impl Drop for Live {
    /// It ends with us; what it leaves is looked for next, so it is to be dead, but where it hangs in the kernel it is not waited for.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let until = Instant::now() + DYING_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Starts the process, and waits for its first line.
fn start(words: &[String]) -> Result<(String, Live), Failure> {
    start_with(LOG, words)
}

fn start_with(log_file: &str, words: &[String]) -> Result<(String, Live), Failure> {
    let what = words.join(" ");
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log_file)
        .context(|| format!("cannot write {log_file}"))?;
    let mut command = Command::new(&words[0]);
    // The second disk is thrown away with the guest; compiled Python is kept for the next run in it.
    command.env("PYTHONPYCACHEPREFIX", "/run/pycache");
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().context(|| format!("cannot start `{what}`"))?;
    let (Some(requests), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::new(format!("`{what}` has no pipes")));
    };
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).unwrap_or_default()).is_err() {
                break;
            }
        }
    });
    let live = Live { child, requests, answers };
    let first = live.answers.recv_timeout(START_LIMIT);
    let version = first.ok().and_then(|first| first["version"].as_str().map(str::to_owned));
    let version = version.ok_or_else(|| {
        let log = fs::read_to_string(log_file).unwrap_or_default();
        Failure::new(format!("`{what}` did not become ready; it said: {}", log.trim()))
    })?;
    Ok((version, live))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_whatever_became_of_the_others() {
        for cut in [None, Some(RecvTimeoutError::Timeout), Some(RecvTimeoutError::Disconnected)] {
            let done = told(Some(json!({ "id": 0, "device": "/dev/a" })), cut, 2.0);
            assert_eq!((done.outcome, done.error), (Outcome::Ok, None));
            assert_eq!(done.device.as_deref(), Some("/dev/a"));
            let refused = told(Some(json!({ "id": 0, "error": "no" })), cut, 2.0);
            assert_eq!((refused.outcome, refused.error.as_deref()), (Outcome::Failed, Some("no")));
        }
        assert!(told(Some(json!({ "data_may_be_lost": true })), None, 2.0).loss_told);
        assert!(!told(Some(json!({ "data_may_be_lost": false })), None, 2.0).loss_told);
    }

    #[test]
    fn without_one_it_was_killed_by_us_or_died() {
        let killed = told(None, Some(RecvTimeoutError::Timeout), 2.0);
        assert_eq!((killed.outcome, killed.error.as_deref()), (Outcome::Killed, Some("killed after 2.0 s")));
        for cut in [None, Some(RecvTimeoutError::Disconnected)] {
            let died = told(None, cut, 2.0);
            assert_eq!(died.outcome, Outcome::Died);
            assert_eq!(died.error.as_deref(), Some("it ended without an answer"));
        }
    }

    /// One of them answers before the process is killed, or ends.
    fn asked(script: &str, limit: Duration) -> Vec<Outcome> {
        let script = format!(r#"echo '{{"version":"1"}}'; read line; echo '{{"id":1}}'; {script}"#);
        let (version, mut live) = start_with("/dev/null", &["sh", "-c", &script].map(str::to_owned)).unwrap();
        assert_eq!(version, "1");
        let (answers, cut) = live.ask(&[json!({ "id": 0 }), json!({ "id": 1 })], Instant::now() + limit);
        answers.into_iter().map(|answer| told(answer, cut, 2.0).outcome).collect()
    }

    #[test]
    fn of_several_each_has_an_end_of_its_own() {
        let long = Duration::from_secs(60);
        assert_eq!(asked("exec sleep 60", Duration::from_secs(2)), [Outcome::Killed, Outcome::Ok]);
        assert_eq!(asked("read line; exit 0", long), [Outcome::Died, Outcome::Ok]);
        assert_eq!(asked("read line; kill -SEGV $$", long), [Outcome::Died, Outcome::Ok]);
    }
}
