//! A host made of maps, for this crate's tests: files and links in memory, scripted programs and replies, a clock
//! that only sleeping moves. Every change asked for is written down in order.

use crate::host::{
    Blocking, DmDevice, DmId, Ended, Host, HostError, LockGuard, Moment, Patch, Program, UeventNotice,
    UeventStream,
};
use crate::names::{BlockName, DevNumber};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct FakeHost {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
    nodes: BTreeMap<String, DevNumber>,
    errors: BTreeMap<String, i32>,
    unnumbered: BTreeMap<String, i32>,
    dm: Vec<DmDevice>,
    programs: VecDeque<(Ended, Option<String>)>,
    replies: VecDeque<String>,
    log: Vec<String>,
    ran: Vec<Program>,
    now: Duration,
}

impl FakeHost {
    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state.lock().expect("no test panics while it holds this"));
        self
    }

    fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no test panics while it holds this"))
    }

    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.with(|s| drop(s.files.insert(path.into(), bytes.as_ref().to_vec())))
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(|s| drop(s.links.insert(path.into(), target.into())))
    }

    /// A block device's node, anywhere.
    pub fn node(self, path: &str, number: &str) -> Self {
        self.with(|s| {
            s.nodes.insert(path.into(), number.parse().expect("a test knows its numbers"));
        })
    }

    /// Every operation on the path fails with that errno.
    pub fn error(self, path: &str, errno: i32) -> Self {
        self.with(|s| {
            s.errors.insert(path.into(), errno);
        })
    }

    /// What the path leads to cannot be told, though its name can.
    pub fn error_of_number(self, path: &str, errno: i32) -> Self {
        self.with(|s| {
            s.unnumbered.insert(path.into(), errno);
        })
    }

    pub fn dm_device(self, device: DmDevice) -> Self {
        self.with(|s| s.dm.push(device))
    }

    /// The next program ends so.
    pub fn ends(self, code: i32, stderr: &str) -> Self {
        let ended = Ended { code: Some(code), stdout: String::new(), stderr: stderr.into() };
        self.with(|s| s.programs.push_back((ended, None)))
    }

    /// The next program ends with that code after it has removed a file.
    pub fn removes(self, path: &str, code: i32) -> Self {
        let ended = Ended { code: Some(code), stdout: String::new(), stderr: String::new() };
        self.with(|s| s.programs.push_back((ended, Some(path.into()))))
    }

    /// multipathd's next reply.
    pub fn replies(self, text: &str) -> Self {
        self.with(|s| s.replies.push_back(text.into()))
    }

    /// What was changed or asked, in order.
    pub fn log(&self) -> Vec<String> {
        self.look(|s| s.log.clone())
    }

    pub fn ran(&self) -> Vec<Program> {
        self.look(|s| s.ran.clone())
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.look(|s| s.files.get(path).map(|b| String::from_utf8_lossy(b).into_owned()))
    }
}

impl State {
    fn fail(&self, path: &str) -> io::Result<()> {
        self.errors.get(path).map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(*errno)))
    }
}

/// Drives a future that never has to wait for anything but this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

struct Silence;

#[async_trait]
impl UeventStream for Silence {
    async fn next(&mut self) -> Result<UeventNotice, HostError> {
        Ok(UeventNotice::Lost)
    }
    fn try_next(&mut self) -> Option<UeventNotice> {
        None
    }
}

impl LockGuard for Silence {}

#[async_trait]
impl Host for FakeHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.look(|s| {
            s.fail(path)?;
            s.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.look(|s| {
            s.fail(path)?;
            if s.files.contains_key(path) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let names: BTreeSet<String> = (s.files.keys().chain(s.links.keys()))
                .filter_map(|p| p.strip_prefix(path)?.strip_prefix('/'))
                .filter_map(|rest| rest.split('/').next().map(str::to_owned))
                .collect();
            match names.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(names.into_iter().collect()),
            }
        })
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.look(|s| {
            s.fail(path)?;
            s.links.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn device_of(&self, path: &str) -> io::Result<Option<DevNumber>> {
        self.look(|s| {
            s.fail(path)?;
            if let Some(errno) = s.unnumbered.get(path) {
                return Err(io::Error::from_raw_os_error(*errno));
            }
            let node = s.links.get(path).map_or(path, String::as_str);
            match s.nodes.get(node) {
                None if node == path && !s.files.contains_key(path) => Err(io::ErrorKind::NotFound.into()),
                number => Ok(number.copied()),
            }
        })
    }

    fn dm(&self, id: &DmId) -> Result<Option<DmDevice>, HostError> {
        let is_it = |device: &&DmDevice| match id {
            DmId::Uuid(uuid) => device.uuid == *uuid,
            DmId::Name(name) => device.name == name.as_str(),
        };
        Ok(self.look(|s| s.dm.iter().find(is_it).cloned()))
    }

    async fn run(&self, program: &Program) -> Result<Ended, HostError> {
        self.look(|s| {
            s.log.push(program.to_string());
            s.ran.push(program.clone());
            let timed_out = || HostError::timed_out("run", program.name, program.limit);
            let (ended, removed) = s.programs.pop_front().ok_or_else(timed_out)?;
            removed.map(|path| s.files.remove(&path));
            Ok(ended)
        })
    }

    async fn ask_multipathd(&self, command: &str, limit: Duration) -> Result<String, HostError> {
        self.look(|s| {
            s.log.push(command.into());
            s.replies.pop_front().ok_or_else(|| HostError::timed_out("ask multipathd", command, limit))
        })
    }

    async fn blocking(&self, operation: &Blocking, _limit: Duration) -> Result<Vec<u8>, HostError> {
        self.look(|s| s.log.push(operation.to_string()));
        Ok(Vec::new())
    }

    fn flush_told(&self, _device: &BlockName, _number: DevNumber) {}

    fn uevents(&self) -> Result<Box<dyn UeventStream>, HostError> {
        Ok(Box::new(Silence))
    }

    fn now(&self) -> Moment {
        self.look(|s| Moment(s.now))
    }

    fn wall_clock(&self) -> u64 {
        0
    }

    async fn sleep_until(&self, moment: Moment) {
        self.look(|s| s.now = s.now.max(moment.0));
    }

    async fn lock(&self, _name: &str, _limit: Duration) -> Result<Box<dyn LockGuard>, HostError> {
        Ok(Box::new(Silence))
    }

    fn load_state(&self, _name: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(None)
    }

    fn store_state(&self, _name: &str, _bytes: &[u8]) -> Result<(), HostError> {
        Ok(())
    }

    fn remove_state(&self, _name: &str) -> Result<(), HostError> {
        Ok(())
    }

    fn list_state(&self, _folder: &str) -> Result<Vec<String>, HostError> {
        Ok(Vec::new())
    }

    fn replace_file(&self, path: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.look(|s| {
            s.log.push(format!("replace {path}"));
            s.fail(path).map_err(|error| HostError::io("replace", path, error))?;
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            if !s
                .files
                .keys()
                .any(|file| file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
            {
                return Err(HostError::io("replace", path, io::ErrorKind::NotFound.into()));
            }
            s.files.insert(path.into(), bytes.to_vec());
            Ok(())
        })
    }

    fn patch_wwids(&self, change: &(dyn Fn(&[u8]) -> Vec<Patch> + Sync)) -> io::Result<()> {
        const PATH: &str = "/etc/multipath/wwids";
        self.look(|s| {
            s.fail(PATH)?;
            let content = s.files.get_mut(PATH).ok_or(io::ErrorKind::NotFound)?;
            change(content).iter().for_each(|patch| patch.apply(content));
            Ok(())
        })
    }

    fn create_lock(&self, path: &str, bytes: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.look(|s| {
            s.fail(path)?;
            if s.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            s.files.insert(path.into(), bytes.to_vec());
            s.log.push(format!("lock {path}"));
            Ok(Box::new(Silence) as Box<dyn LockGuard>)
        })
    }

    /// Every marked lock that a test has put there is a dead process's.
    fn break_lock(&self, path: &str, mark: &[u8]) -> io::Result<()> {
        self.look(|s| {
            if s.files.get(path).is_some_and(|bytes| bytes.starts_with(mark)) {
                s.log.push(format!("break {path}"));
                s.files.remove(path);
            }
            Ok(())
        })
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.look(|s| {
            s.log.push(format!("remove {path}"));
            s.files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn process_id(&self) -> u32 {
        100
    }
}
