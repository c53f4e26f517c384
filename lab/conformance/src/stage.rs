//! The laboratory's guest as a stage: bowline's command, and `lab` for the world around it.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use bowline_conformance::action::{Action, Chap, Connect, Daemon, Disconnect, Multipath, Power};
use bowline_conformance::{Answer, Stage};
use bowline_host::Host;
use bowline_linux::{LinuxHost, Settings};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use crate::program::{lab, output, run};
use crate::users::Users;

const CONNECTION: &str = "/tmp/conform-connection.json";
const MULTIPATH_CONF: &str = "/etc/multipath.conf";
const BLACKLIST: &str =
    "blacklist {\n    device {\n        vendor \"LIO-ORG\"\n        product \".*\"\n    }\n}\n";

/// The guest, on which a case is played.
pub struct LabStage {
    host: LinuxHost,
    users: Users,
    /// The volumes whose export was changed.
    moved: BTreeSet<u64>,
}

impl LabStage {
    /// On a clean initiator.
    pub fn new(runtime: &Handle) -> Result<Self, String> {
        let _inside = runtime.enter();
        let host = LinuxHost::new(Settings::from_environment()).map_err(|error| error.to_string())?;
        Ok(Self { host, users: Users::default(), moved: BTreeSet::new() })
    }

    /// Nobody uses anything any more. One who hangs in the kernel does not end before its device is taken away by force.
    pub fn end(&mut self) {
        if !self.users.closer_hangs() {
            let _ = self.users.close();
        }
    }

    /// The target exports every volume as at the beginning.
    pub fn put_back(&mut self) -> Result<(), String> {
        let moved: Vec<String> = std::mem::take(&mut self.moved).iter().map(u64::to_string).collect();
        // One that is exported nowhere cannot be taken away.
        moved.iter().for_each(|volume| drop(lab(&["unmap", volume])));
        moved.iter().try_for_each(|volume| lab(&["map", volume]))?;
        self.users.close()
    }

    fn verb(&self, verb: &str, connection: &Value, options: &[String]) -> Result<Answer, String> {
        fs::write(CONNECTION, connection.to_string())
            .map_err(|error| format!("cannot write {CONNECTION}: {error}"))?;
        let mut words = vec![verb, CONNECTION, "--json", "--progress", "json"];
        words.extend(options.iter().map(String::as_str));
        let output = output("bowline", &words)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().ok_or_else(|| format!("bowline was killed: {}", output.status))?;
        let said =
            serde_json::from_str(&out).map_err(|error| format!("{verb} answered {out}{err}: {error}"))?;
        let events = err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Answer { code, said, events })
    }

    fn network(&self, command: &[&str], portals: &[usize]) -> Result<(), String> {
        let portals: Vec<String> = portals.iter().map(usize::to_string).collect();
        let words: Vec<&str> = command.iter().copied().chain(portals.iter().map(String::as_str)).collect();
        lab(&words)
    }
}

fn configure(setting: Multipath) -> Result<(), String> {
    match setting {
        Multipath::FindYes => lab(&["multipath", "find_multipaths=yes"]),
        Multipath::FindNo => lab(&["multipath", "find_multipaths=no"]),
        Multipath::FindGreedy => lab(&["multipath", "find_multipaths=greedy"]),
        Multipath::FriendlyNames => lab(&["multipath", "user_friendly_names=yes"]),
        Multipath::Blacklist => {
            fs::write(MULTIPATH_CONF, BLACKLIST)
                .map_err(|e| format!("cannot write {MULTIPATH_CONF}: {e}"))?;
            lab(&["restart", "multipathd"])
        }
        Multipath::Default => {
            fs::remove_file(MULTIPATH_CONF).map_err(|e| format!("cannot remove {MULTIPATH_CONF}: {e}"))?;
            lab(&["restart", "multipathd"])
        }
    }
}

/// As on the command line.
fn connect_options(stage: &LabStage, how: &Connect) -> Vec<String> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            options.extend([name.to_owned(), value]);
        }
    };
    add("--min-paths", how.min_paths.map(|count| count.to_string()));
    add("--deadline", how.deadline.map(|seconds| format!("{seconds}s")));
    add("--wwid", how.wwid.map(|volume| stage.wwid(volume)));
    let flags = [("--single-path", how.single_path), ("--allow-single-device", how.allow_single_device)];
    options.extend(flags.into_iter().filter(|(_, is)| *is).map(|(flag, _)| flag.to_owned()));
    options
}

fn disconnect_options(how: &Disconnect) -> Vec<String> {
    let mut options = Vec::new();
    let times = [("--flush-timeout", how.flush_timeout), ("--deadline", how.deadline)];
    for (name, seconds) in times {
        options.extend(seconds.into_iter().flat_map(|seconds| [name.to_owned(), format!("{seconds}s")]));
    }
    options.extend(how.force.then(|| "--force".to_owned()));
    options
}

impl Stage for LabStage {
    fn host(&self) -> &dyn Host {
        &self.host
    }

    fn connection(&self, volume: u64) -> Result<Value, String> {
        let output = output("lab", &["connection", &volume.to_string()])?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cannot understand `lab connection {volume}`: {error}"))?;
        Ok(answer["data"].clone())
    }

    /// LIO makes it of the volume's serial number (NAA 6, its own company's number, 25 digits of the serial).
    fn wwid(&self, volume: u64) -> String {
        format!("36001405{volume:08x}b0f14000800000000")
    }

    async fn connect(&mut self, connection: &Value, how: &Connect) -> Result<Answer, String> {
        self.verb("connect", connection, &connect_options(self, how))
    }

    async fn disconnect(&mut self, connection: &Value, how: &Disconnect) -> Result<Answer, String> {
        self.verb("disconnect", connection, &disconnect_options(how))
    }

    async fn write(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        self.users.write(node, volume)
    }

    async fn verify(&mut self, node: &str, volume: u64) -> Result<bool, String> {
        self.users.verify(node, volume)
    }

    async fn open(&mut self, node: &str) -> Result<(), String> {
        self.users.open(node)
    }

    async fn write_cached(&mut self, node: &str) -> Result<(), String> {
        self.users.write_cached(node)
    }

    async fn close(&mut self) -> Result<(), String> {
        self.users.close()
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Drop(portals) => self.network(&["drop", "100%"], portals),
            Action::Reject(portals) => self.network(&["reject"], portals),
            Action::Delay(milliseconds, portals) => {
                self.network(&["delay", &milliseconds.to_string()], portals)
            }
            Action::Heal => lab(&["heal"]),
            Action::Unmap(volume) => {
                self.moved.insert(*volume);
                lab(&["unmap", &volume.to_string()])
            }
            Action::Map { volume, lun } => {
                self.moved.insert(*volume);
                lab(&["map", &volume.to_string(), "--lun", &lun.to_string()])
            }
            Action::Chap(chap) => lab(&[
                "chap",
                match chap {
                    Chap::Off => "off",
                    Chap::OneWay => "one-way",
                    Chap::Mutual => "mutual",
                },
            ]),
            Action::Cache(volume, on) => lab(&["cache", on_off(*on), &volume.to_string()]),
            Action::WriteProtect(on) => lab(&["write-protect", on_off(*on)]),
            Action::Multipath(setting) => configure(*setting),
            Action::Daemon(daemon, power) => {
                let power = if *power == Power::Start { "start" } else { "stop" };
                lab(&[power, if *daemon == Daemon::Iscsid { "iscsid" } else { "multipathd" }])
            }
            other => Err(format!("{other:?} is nothing that `lab` does")),
        }
    }

    fn finisher_runs(&self) -> bool {
        let commands = fs::read_dir("/proc").into_iter().flatten().flatten();
        let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
        commands.map(command).any(|command| {
            let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
            words.first().is_some_and(|program| program.ends_with(b"bowline"))
                && words.get(1) == Some(&&b"finish"[..])
        })
    }

    fn closer_hangs(&self) -> bool {
        self.users.closer_hangs()
    }

    async fn settle(&self) -> Result<(), String> {
        run("udevadm", &["settle", "--timeout=60"])
    }

    async fn pause(&self, time: Duration) {
        thread::sleep(time);
    }

    fn left(&self) -> Result<Value, String> {
        let output = output("lab", &["leftovers"])?;
        let kinds: Map<String, Value> = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cannot understand `lab leftovers`: {error}"))?;
        // What lies below /dev is udev's, and no matter of the engine's.
        let counted = kinds.into_iter().filter(|(kind, _)| kind != "dev_links");
        let count = |list: Value| list.as_array().into_iter().flatten().filter(|one| !is_ours(one)).count();
        let counts = counted.map(|(kind, list)| (kind, count(list)));
        Ok(counts.filter(|(_, count)| *count > 0).map(|(kind, count)| (kind, json!(count))).collect())
    }
}

/// Whether what is left is the helper of our own look at the host.
fn is_ours(left: &Value) -> bool {
    let pid = left.as_str().and_then(|text| text.strip_prefix("bowline-helper "));
    let status =
        pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok()).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|parent| parent.trim().parse().ok()) == Some(std::process::id())
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
