//! A thin fake of a host for the loop and the verbs: the model's files, programs that change the model, a clock that
//! jumps. Every call can be made to fail; what must never happen is noted while it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bowline_host::host::{
    Blocking, DmDevice, DmId, Ended, LockGuard, Patch, Program, Uevent, UeventNotice, UeventStream,
};
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Host, HostError, Moment};

use crate::model::{Files, IQN, Links, Model, WWID, disk_name, endpoint};

#[derive(Default)]
pub struct State {
    pub model: Model,
    shown: Option<(Model, Files, Links)>,
    /// Portals that answer nothing.
    pub dead: BTreeSet<u8>,
    /// multipathd does not run.
    pub no_multipathd: bool,
    /// A write is lost, which the next flush is told, and no other.
    pub lost_write: bool,
    /// A scan that was begun here by somebody else comes to its end when the portal is next locked without its disk.
    pub lands: Option<u8>,
    /// The calls of these numbers fail.
    pub fail_at: BTreeSet<usize>,
    /// The call of this number ends in a bug of ours.
    pub panic_at: Option<usize>,
    pub calls: usize,
    pub stored: BTreeMap<String, Vec<u8>>,
    /// Every program, question and write, in order.
    pub log: Vec<String>,
    /// What was read of /dev.
    pub dev: BTreeSet<String>,
    /// How often the processes were looked through.
    pub searches: usize,
    /// What must not be: one line each.
    pub wrongs: Vec<String>,
    pub most_logins: usize,
    logins: usize,
    locks: BTreeSet<String>,
    now: Duration,
    sleepers: Vec<(Duration, Waker)>,
    listeners: Vec<Waker>,
    events: usize,
}

impl State {
    /// The model's files and links, made anew only when it has changed.
    fn shown(&mut self) -> (&Files, &Links) {
        if self.shown.as_ref().is_none_or(|(model, ..)| *model != self.model) {
            let (files, links) = self.model.render();
            self.shown = Some((self.model.clone(), files, links));
        }
        let (_, files, links) = self.shown.as_ref().expect("it was made just now");
        (files, links)
    }
}

#[derive(Clone, Default)]
pub struct FakeHost(Arc<Mutex<State>>);

impl FakeHost {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// The clock jumps to the next sleeper; false when nobody sleeps.
    pub fn to_next_sleeper(&self) -> bool {
        let mut state = self.state();
        let Some(next) = state.sleepers.iter().map(|(at, _)| *at).min() else { return false };
        state.now = state.now.max(next);
        let due: Vec<Waker> =
            state.sleepers.extract_if(.., |(at, _)| *at <= next).map(|(_, waker)| waker).collect();
        drop(state);
        due.into_iter().for_each(Waker::wake);
        true
    }

    async fn sleep(&self, time: Duration) {
        let at = Moment(self.state().now) + time;
        self.sleep_until(at).await;
    }

    /// Changes the model, as long as an intent is on disk (B4), and tells of it.
    fn change(&self, what: &str, change: impl FnOnce(&mut Model)) {
        let mut state = self.state();
        if !state.stored.keys().any(|name| name.starts_with("attachments/")) {
            state.wrongs.push(format!("{what}: nothing was written down before"));
        }
        change(&mut state.model);
        state.events += 1;
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        listeners.into_iter().for_each(Waker::wake);
    }

    /// Counts a call, and fails the one that is to fail.
    fn call(&self) -> io::Result<()> {
        let mut state = self.state();
        state.calls += 1;
        if state.panic_at == Some(state.calls) {
            drop(state);
            // Without a word on standard error for each.
            std::panic::resume_unwind(Box::new("a bug"));
        }
        match state.fail_at.contains(&state.calls) {
            true => Err(io::Error::other("made to fail")),
            false => Ok(()),
        }
    }

    fn host_call(&self, operation: &'static str, object: &str) -> Result<(), HostError> {
        self.call().map_err(|error| HostError::io(operation, object, error))
    }

    async fn iscsiadm(&self, args: &[String]) -> i32 {
        let n: u8 = args[5].strip_prefix("10.0.0.").unwrap().strip_suffix(":3260").unwrap().parse().unwrap();
        assert_eq!(args[3], IQN);
        match args[8..].iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["--login"] => return self.login(n).await,
            ["--logout"] => {
                self.sleep(Duration::from_millis(100)).await;
                self.change("logout", |model| {
                    model.sessions.remove(&n);
                    model.disks.remove(&n);
                });
            }
            ["-o", "new"] => self.change("new record", |model| {
                model.records.insert(n, Model::default_record(n));
            }),
            _ => return 21,
        }
        0
    }

    async fn login(&self, n: u8) -> i32 {
        {
            let mut state = self.state();
            state.logins += 1;
            state.most_logins = state.most_logins.max(state.logins);
            if state.locks.contains(&bowline::claims::lock_name(&endpoint(n))) {
                state.wrongs.push(format!("portal {n} is locked across a login"));
            }
            let scan =
                state.model.records.get(&n).and_then(|record| record.get("node.session.scan")).cloned();
            if scan.as_deref() != Some("manual") {
                state.wrongs.push(format!("login to portal {n} with node.session.scan {scan:?}"));
            }
        }
        let dead = self.state().dead.contains(&n);
        self.sleep(if dead { Duration::from_secs(12) } else { Duration::from_millis(300) }).await;
        self.state().logins -= 1;
        if !dead {
            self.change("login", |model| model.sessions.extend([n]));
        }
        if dead { 8 } else { 0 }
    }

    /// Paths join a map that is there by themselves.
    fn scan(&self, n: u8) {
        self.change("scan", |model| {
            model.disks.insert(n);
            model.map.iter_mut().for_each(|paths| paths.extend([n]));
        });
    }

    fn delete(&self, n: u8) {
        self.change("delete", |model| {
            model.disks.remove(&n);
            model.map.iter_mut().for_each(|paths| paths.retain(|path| *path != n));
        });
    }
}

struct Events(FakeHost, usize);

#[async_trait]
impl UeventStream for Events {
    async fn next(&mut self) -> Result<UeventNotice, HostError> {
        std::future::poll_fn(|context| {
            let mut state = self.0.state();
            if self.1 < state.events {
                self.1 += 1;
                return Poll::Ready(Ok(UeventNotice::Lost));
            }
            state.listeners.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn try_next(&mut self) -> Option<UeventNotice> {
        let new = self.1 < self.0.state().events;
        self.1 += usize::from(new);
        new.then(|| {
            UeventNotice::Event(Uevent { devpath: "/devices/virtual/block/dm-3".into(), dm_uuid: None })
        })
    }
}

struct Held(FakeHost, String);

impl LockGuard for Held {}

/// Nobody else works on this host's database.
struct Unlocked;

impl LockGuard for Unlocked {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locks.remove(&self.1);
    }
}

#[async_trait]
impl Host for FakeHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.call()?;
        self.state().shown().0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.call()?;
        let mut state = self.state();
        state.searches += usize::from(path == "/proc");
        let (files, links) = state.shown();
        if files.contains_key(path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let below = files.keys().chain(links.keys()).filter_map(|p| p.strip_prefix(path)?.strip_prefix('/'));
        let names: BTreeSet<String> =
            below.filter_map(|rest| rest.split('/').next().map(str::to_owned)).collect();
        match names.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(names.into_iter().collect()),
        }
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.call()?;
        let mut state = self.state();
        if path.starts_with("/dev/") {
            state.dev.insert(path.into());
        }
        state.shown().1.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Nobody has anything open here, and nothing is a loop device's.
    fn device_of(&self, _path: &str) -> io::Result<Option<DevNumber>> {
        self.call()?;
        Err(io::ErrorKind::NotFound.into())
    }

    fn dm(&self, id: &DmId) -> Result<Option<DmDevice>, HostError> {
        self.host_call("ask device-mapper for", "the map")?;
        let is_it = |device: &DmDevice| match id {
            DmId::Uuid(uuid) => device.uuid == *uuid,
            DmId::Name(name) => device.name == name.as_str(),
        };
        Ok(self.state().model.dm().filter(is_it))
    }

    async fn run(&self, program: &Program) -> Result<Ended, HostError> {
        self.host_call("run", program.name)?;
        self.state().log.push(program.to_string());
        if program.limit.is_zero() || program.limit > Duration::from_secs(120) {
            self.state().wrongs.push(format!("{program}: its limit is {:?}", program.limit));
        }
        self.sleep(Duration::from_millis(20)).await;
        let code = match (program.name, program.args[0].as_str()) {
            ("iscsiadm", _) => self.iscsiadm(&program.args).await,
            ("multipath", "-f") => {
                self.change("multipath -f", |model| model.map = None);
                0
            }
            _ => panic!("no such program: {program}"),
        };
        Ok(Ended { code: Some(code), stdout: String::new(), stderr: "iscsiadm: it failed\n".into() })
    }

    async fn ask_multipathd(&self, command: &str, limit: Duration) -> Result<String, HostError> {
        self.host_call("ask multipathd", command)?;
        self.state().log.push(format!("multipathd {command}"));
        assert!(!limit.is_zero());
        self.sleep(Duration::from_millis(10)).await;
        if self.state().no_multipathd {
            return Err(HostError::unavailable("ask multipathd", command, "it does not run"));
        }
        let model = self.state().model.clone();
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            ["show", "daemon"] => return Ok("pid 1 idle".into()),
            ["show", "paths", ..] => {
                let lines: Vec<String> =
                    model.disks.iter().map(|n| format!("{}|{WWID}|mpatha", disk_name(*n))).collect();
                return Ok(if lines.is_empty() { "ok".into() } else { lines.join("\n") });
            }
            ["add", "map", WWID] if !model.disks.is_empty() => self.change("add map", |model| {
                model.map = Some(model.disks.clone());
                model.wwid_on_file = true;
            }),
            ["del", "map", "mpatha"] if model.map.is_some() => {
                self.change("del map", |model| model.map = None)
            }
            ["add", "path", _] => {}
            _ => return Ok("fail".into()),
        }
        Ok("ok".into())
    }

    async fn blocking(&self, operation: &Blocking, limit: Duration) -> Result<Vec<u8>, HostError> {
        self.host_call("do", &operation.to_string())?;
        self.state().log.push(operation.to_string());
        assert!(!limit.is_zero());
        self.sleep(Duration::from_millis(5)).await;
        if matches!(operation, Blocking::Sync { .. }) && std::mem::take(&mut self.state().lost_write) {
            // The number that a device with an error of its own has (Linux 6.1 `block/blk-core.c`, BLK_STS_TARGET).
            return Err(HostError::lost_write(
                "sync",
                operation.to_string(),
                io::Error::from_raw_os_error(121).to_string(),
            ));
        }
        if let Blocking::WriteSysfs { path, text } = operation {
            let mut parts = path.split('/').skip(3);
            match (parts.next(), parts.next(), parts.last()) {
                (Some("scsi_host"), Some(host), Some("scan")) if text == "0 0 1" => {
                    let n = host.strip_prefix("host").unwrap().parse().unwrap();
                    if self.state().model.sessions.contains(&n) {
                        self.scan(n);
                    }
                }
                (Some("scsi_device"), Some(hctl), Some("delete")) => {
                    self.delete(hctl.split(':').next().unwrap().parse().unwrap());
                }
                _ => panic!("unexpected write: {operation}"),
            }
        }
        Ok(Vec::new())
    }

    fn flush_told(&self, _device: &BlockName, _number: DevNumber) {}

    fn uevents(&self) -> Result<Box<dyn UeventStream>, HostError> {
        self.host_call("subscribe to", "uevents")?;
        let events = self.state().events;
        Ok(Box::new(Events(self.clone(), events)))
    }

    fn now(&self) -> Moment {
        Moment(self.state().now)
    }

    fn wall_clock(&self) -> u64 {
        1_790_000_000
    }

    async fn sleep_until(&self, moment: Moment) {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.now >= moment.0 {
                return Poll::Ready(());
            }
            state.sleepers.push((moment.0, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    async fn lock(&self, name: &str, limit: Duration) -> Result<Box<dyn LockGuard>, HostError> {
        self.host_call("lock", name)?;
        let until = self.now() + limit;
        while !self.state().locks.insert(name.into()) {
            if self.now() >= until {
                return Err(HostError::timed_out("lock", name, limit));
            }
            self.sleep(Duration::from_millis(10)).await;
        }
        let landing = {
            let mut state = self.state();
            let model = state.model.clone();
            let is_here =
                |n: &u8| name == bowline::claims::lock_name(&endpoint(*n)) && !model.disks.contains(n);
            state.lands.take_if(|n| is_here(n))
        };
        if let Some(n) = landing {
            self.change("landing", |model| model.disks.extend([n]));
        }
        Ok(Box::new(Held(self.clone(), name.into())))
    }

    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.host_call("read", name)?;
        Ok(self.state().stored.get(name).cloned())
    }

    fn store_state(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.host_call("write", name)?;
        self.state().stored.insert(name.into(), bytes.to_vec());
        Ok(())
    }

    fn remove_state(&self, name: &str) -> Result<(), HostError> {
        self.host_call("remove", name)?;
        self.state().stored.remove(name);
        Ok(())
    }

    fn list_state(&self, folder: &str) -> Result<Vec<String>, HostError> {
        self.host_call("list", folder)?;
        let state = self.state();
        let names = state.stored.keys().filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
        Ok(names.map(str::to_owned).collect())
    }

    fn replace_file(&self, path: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.host_call("replace", path)?;
        if self.state().model.records.is_empty() {
            return Err(HostError::io("replace", path, io::ErrorKind::NotFound.into()));
        }
        let n = (1..=9).find(|n| Model::record_path(*n) == path);
        let text = String::from_utf8_lossy(bytes).into_owned();
        let settings = text.lines().filter_map(|line| line.split_once(" = "));
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.change("record", |model| drop(model.records.insert(n.expect("a record's file"), settings)));
        Ok(())
    }

    fn patch_wwids(&self, change: &(dyn Fn(&[u8]) -> Vec<Patch> + Sync)) -> io::Result<()> {
        self.call()?;
        let mut content = self.read("/etc/multipath/wwids")?;
        change(&content).iter().for_each(|patch| patch.apply(&mut content));
        let on = content.starts_with(b"/");
        self.change("wwids", |model| model.wwid_on_file = on);
        Ok(())
    }

    fn create_lock(&self, _path: &str, _bytes: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.call().map(|()| Box::new(Unlocked) as Box<dyn LockGuard>)
    }

    fn break_lock(&self, _path: &str, _mark: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.call()?;
        let n = self.state().model.records.keys().copied().find(|n| Model::record_path(*n) == path);
        if let Some(n) = n {
            self.change("delete record", |model| drop(model.records.remove(&n)));
        }
        Ok(())
    }

    fn process_id(&self) -> u32 {
        100
    }
}
