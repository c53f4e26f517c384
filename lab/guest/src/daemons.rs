//! The initiator's two daemons, as Debian's units start them, and the proof that they answer.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use lab_wire::{Context, Failure};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::run_line;

/// A daemon that a script may restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Daemon {
    /// device-mapper's multipath daemon
    Multipathd,
    /// open-iscsi's daemon
    Iscsid,
}

/// Under emulation, and with other work beside it, a start takes a second or two; never this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look where nothing tells us.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const MULTIPATHD_SOCKET: &str = "/org/kernel/linux/storage/multipathd";
const ISCSID_SOCKET: &str = "@ISCSIADM_ABSTRACT_NAMESPACE";

impl Daemon {
    /// Starts it, and returns when it answers.
    pub fn start(self) -> Result<(), Failure> {
        if self.answers() {
            return Ok(());
        }
        match self {
            // In the foreground, as its unit does, with what it says in a file for the script to read.
            Self::Multipathd => {
                let log = File::options().create(true).append(true).open("/var/log/multipathd.log");
                let log = log.context(|| "cannot write /var/log/multipathd.log")?;
                let mut command = Command::new("/sbin/multipathd");
                command.args(["-d", "-s"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
                command.current_dir("/").spawn().context(|| "cannot start multipathd")?;
            }
            Self::Iscsid => drop(run_line("/sbin/iscsid")?),
        }
        wait_for(&format!("{self:?} to answer"), || self.answers())
    }

    /// Stops it, and returns when it is gone.
    pub fn stop(self) -> Result<(), Failure> {
        for signal in [Signal::TERM, Signal::KILL] {
            let told = || {
                let pids = self.pids();
                signal_all(&pids, signal);
                !pids.is_empty()
            };
            if wait_while(Duration::from_secs(5), told) {
                return Ok(());
            }
        }
        Err(Failure::new(format!("{self:?} does not end{}", self.whereabouts())))
    }

    /// Stops it, and starts it anew.
    pub fn restart(self) -> Result<(), Failure> {
        self.stop()?;
        self.start()
    }

    /// Stops it in its tracks (SIGSTOP): it lives, holds its sockets, and answers nobody.
    pub fn freeze(self) -> Result<(), Failure> {
        if self.pids().is_empty() {
            return Err(Failure::new(format!("{self:?} does not run")));
        }
        // Told until it does: on Debian 13 one of iscsid's two processes was seen at its poll a minute after a first signal.
        let stands_still = || {
            let moving = processes_in(|name, state| name == self.name() && !matches!(state, 'T' | 'Z'));
            signal_all(&moving, Signal::STOP);
            moving.is_empty()
        };
        wait_for(&format!("{self:?} to stand still"), stands_still)
            .map_err(|failure| Failure::new(format!("{failure}{}", self.whereabouts())))
    }

    /// Lets it go on; nothing where it does.
    pub fn thaw(self) {
        signal_all(&self.pids(), Signal::CONT);
    }

    /// Whether it does its work: multipathd answers on its socket, iscsid has bound its own.
    pub fn answers(self) -> bool {
        match self {
            Self::Multipathd => ask_multipathd("show daemon").is_ok_and(|reply| reply.contains("idle")),
            // Connecting would be taken for a request, and complained of.
            Self::Iscsid => {
                let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
                sockets.contains(ISCSID_SOCKET) && !self.pids().is_empty()
            }
        }
    }

    /// Where in the kernel its processes are: a signal waits until they come out of it.
    fn whereabouts(self) -> String {
        let of = |pid: Pid| {
            let read = |file: &str| {
                fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default()
            };
            let stat = read("stat");
            let state = name_and_state(&stat).map_or('?', |(_, state)| state);
            let calls = read("stack")
                .lines()
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect::<Vec<_>>()
                .join(" < ");
            format!("; process {} is in state {state}: {calls}", pid.as_raw_nonzero())
        };
        self.pids().into_iter().map(of).collect()
    }

    fn pids(self) -> Vec<Pid> {
        processes(|name| name == self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Multipathd => "multipathd",
            Self::Iscsid => "iscsid",
        }
    }
}

/// One that has ended meanwhile needs none.
fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill_process(*pid, signal);
    }
}

/// The processes whose name is wanted; zombies do not count.
pub fn processes(wanted: impl Fn(&str) -> bool) -> Vec<Pid> {
    processes_in(|name, state| wanted(name) && state != 'Z')
}

/// The processes whose name and state are wanted.
fn processes_in(wanted: impl Fn(&str, char) -> bool) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        matches!(name_and_state(&stat), Some((name, state)) if wanted(name, state))
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// A process's name and state from its `stat`: `pid (name) state …`, where the name may hold anything.
fn name_and_state(stat: &str) -> Option<(&str, char)> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    Some((name, rest.trim_start().chars().next()?))
}

/// Asks multipathd one line.
pub fn ask_multipathd(line: &str) -> Result<String, Failure> {
    exchange(line).context(|| format!("multipathd does not answer `{line}`"))
}

/// Its framing either way: the length as the machine's own word, counting the NUL, then the string.
fn exchange(line: &str) -> std::io::Result<String> {
    let mut socket = UnixStream::connect_addr(&SocketAddr::from_abstract_name(MULTIPATHD_SOCKET)?)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut message = (line.len() + 1).to_ne_bytes().to_vec();
    message.extend_from_slice(line.as_bytes());
    message.push(0);
    socket.write_all(&message)?;
    let mut length = [0; size_of::<usize>()];
    socket.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from_ne_bytes(length).min(1 << 20)];
    socket.read_exact(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).trim_end_matches('\0').to_owned())
}

/// Looks until it is so, with patience but not for ever.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failure> {
    match wait_while(PATIENCE, || !is_so()) {
        true => Ok(()),
        false => Err(Failure::new(format!("waited {} s in vain for {what}", PATIENCE.as_secs()))),
    }
}

/// Looks until it is so no more, for so long at most; whether it came to that.
pub fn wait_while(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(name_and_state("12 (a) b (c)) S 1 1"), Some(("a) b (c)", 'S')));
        assert_eq!(name_and_state("12 (iscsid) Z 1"), Some(("iscsid", 'Z')));
        assert_eq!(name_and_state(""), None);
    }
}
