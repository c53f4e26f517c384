//! [`SimHost`]: one bowline process on the simulated host.

use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bowline_host::host::{
    Blocking, DmDevice, DmId, Ended, Failure, LockGuard, Patch, Program, UeventNotice, UeventStream,
};
use bowline_host::iscsi::DATABASE_LOCK;
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Host, HostError, Moment};

use crate::executor::{Death, Sim};
use crate::faults::{Call, Strike};
use crate::model::{self, Subscriber, World, blocks};

/// A process.
#[derive(Clone)]
pub struct SimHost {
    sim: Sim,
    pid: u32,
}

/// What a file or a folder takes to be read, on a host that is slower than a quick one, once for each time that it is slower.
const LOOKING: Duration = Duration::from_micros(20);

impl SimHost {
    /// A new process of that host.
    pub fn start(sim: &Sim) -> Self {
        let pid = sim.with(|world| world.start_process("bowline", 1));
        Self { sim: sim.clone(), pid }
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A call across the seam: what befalls it, apart from death, which ends the process here.
    fn gate(&self, call: Call, what: &dyn std::fmt::Display) -> Option<Strike> {
        let strike = self.sim.with(|world| {
            let strike = world.faults.strike(call)?;
            world.note("FAULT", format_args!("{strike:?} at {call:?} {what} of process {}", self.pid));
            if strike == Strike::Death {
                world.end_process(self.pid);
            }
            Some(strike)
        })?;
        if strike == Strike::Death {
            resume_unwind(Box::new(Death));
        }
        Some(strike)
    }

    fn quick(&self, call: Call, path: &str) -> io::Result<()> {
        self.sim.with(|world| {
            // A look is some hundred of these: on a slow host it takes a while.
            if matches!(call, Call::Read | Call::List | Call::Link | Call::Dm) {
                world.clock.spend(LOOKING * (world.setup.slowness - 1));
            }
        });
        match self.gate(call, &path) {
            Some(_) => Err(io::Error::from_raw_os_error(blocks::EIO)),
            None => Ok(()),
        }
    }

    fn state(&self, call: Call, name: &str) -> Result<(), HostError> {
        self.quick(call, name).map_err(|error| HostError::io("access the state file", name, error))
    }

    /// Whether a secret stands where it must not (B8).
    fn discreet(&self, what: &str, text: &str) {
        self.sim.with(|world| {
            if world.secrets.iter().any(|secret| text.contains(secret.as_str())) {
                world.wrong(format!("B8: a secret in {what}"));
            }
        });
    }

    /// Before bowline brings anything in, an intent is on disk (B4).
    fn intended(&self, brings: bool, what: &str) {
        self.sim.with(|world| {
            if brings && !world.state.keys().any(|name| name.starts_with("attachments/")) {
                world.wrong(format!("B4: no intent is on disk before {what}"));
            }
        });
    }

    /// What slows a call down, or fails it.
    async fn slow(&self, call: Call, what: &str, limit: Duration) -> Result<Duration, HostError> {
        match self.gate(call, &what) {
            Some(Strike::Error) => Err(HostError::io("do", what, io::Error::from_raw_os_error(blocks::EIO))),
            Some(Strike::Delay(time)) => Ok(time),
            Some(Strike::Hang) => Ok(limit + Duration::from_secs(20)),
            Some(Strike::Death) | None => Ok(Duration::ZERO),
        }
    }

    /// An operation of the helper's, in a process that goes on when nobody waits any more.
    async fn helped(
        &self,
        operation: &Blocking,
        limit: Duration,
        delay: Duration,
    ) -> Result<Vec<u8>, HostError> {
        let answer: Arc<Mutex<Option<Result<(), Failure>>>> = Arc::default();
        let (told, sim, wanted) = (answer.clone(), self.sim.clone(), operation.clone());
        doom(&sim, operation, true);
        self.sim.spawn(async move {
            let start = sim.with(|world| world.latency(1, 3));
            sim.sleep(delay + start).await;
            if Arc::strong_count(&told) == 1 {
                // It was given up before it began: its process is killed.
                doom(&sim, &wanted, false);
                return;
            }
            let result = perform(&sim, wanted).await;
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            sim.with(World::touch);
        });
        let by = self.sim.now() + limit;
        let answered =
            self.sim.until_by(by, |_| answer.lock().unwrap_or_else(PoisonError::into_inner).take()).await;
        match answered {
            None => Err(HostError::timed_out("have done", operation.to_string(), limit)),
            Some(Ok(())) => Ok(match operation {
                Blocking::ReadFirst { .. } => vec![0; 4096],
                _ => Vec::new(),
            }),
            Some(Err(failure)) => Err(HostError { operation: "do", object: operation.to_string(), failure }),
        }
    }
}

async fn perform(sim: &Sim, operation: Blocking) -> Result<(), Failure> {
    let device =
        |device: BlockName, number: DevNumber| (device.as_str().to_owned(), (number.major, number.minor));
    match operation {
        Blocking::ReadFirst { device: name, number } => {
            let (name, number) = device(name, number);
            blocks::helper(sim, blocks::Operation::Read, &name, number).await
        }
        Blocking::Sync { device: name, number } => {
            let (name, number) = device(name, number);
            blocks::helper(sim, blocks::Operation::Sync, &name, number).await
        }
        Blocking::WriteSysfs { path, text } => write_sysfs(sim, &path, &text).await.map_err(blocks::failure),
    }
}

async fn write_sysfs(sim: &Sim, path: &str, text: &str) -> Result<(), i32> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["sys", "class", "scsi_host", host, "scan"] => {
            let host = host.strip_prefix("host").and_then(|host| host.parse().ok());
            let lun = text.strip_prefix("0 0 ").and_then(|lun| lun.trim().parse().ok());
            match (host, lun) {
                (Some(host), Some(lun)) => {
                    // The helper's process has the attribute open until the kernel returns.
                    let helper = sim.with(|world| {
                        let pid = world.start_process("bowline-helper", 1);
                        let file = format!("/sys/devices/platform/host{host}/scsi_host/host{host}/scan");
                        world
                            .processes
                            .get_mut(&pid)
                            .into_iter()
                            .for_each(|process| process.files.push(file.clone()));
                        pid
                    });
                    let result = model::begin_scan(sim, host, lun).await;
                    sim.with(|world| world.end_process(helper));
                    result
                }
                _ => {
                    sim.with(|world| world.wrong(format!("C12: a scan for {text:?}")));
                    Err(blocks::EINVAL)
                }
            }
        }
        ["sys", "class", "scsi_device", hctl, "device", "delete"] => {
            let id = sim.with(|world| disk_of(world, hctl)).ok_or(blocks::ENOENT)?;
            model::begin_delete(sim, id).await
        }
        _ => Err(blocks::ENOENT),
    }
}

fn disk_of(world: &World, hctl: &str) -> Option<u64> {
    let mut numbers = hctl.split(':').map(|number| number.parse::<u64>().unwrap_or(u64::MAX));
    let (host, lun) = (numbers.next().unwrap_or(u64::MAX), numbers.nth(2).unwrap_or(u64::MAX));
    world.disk_at(host as u32, lun).map(|disk| disk.id)
}

/// From the engine's last look until the kernel has the write to `delete`, anybody may open the disk; the engine cannot
/// know of it, and the data of whoever does so while it is being detached is nobody's promise.
fn doom(sim: &Sim, operation: &Blocking, doomed: bool) {
    let Blocking::WriteSysfs { path, .. } = operation else { return };
    let hctl =
        path.strip_prefix("/sys/class/scsi_device/").and_then(|path| path.strip_suffix("/device/delete"));
    let Some(hctl) = hctl else { return };
    sim.with(|world| {
        let disk = disk_of(world, hctl).and_then(|id| world.disks.get_mut(&id));
        disk.into_iter().for_each(|disk| disk.doomed = doomed);
    });
}

/// A subscription.
struct Stream {
    sim: Sim,
    id: u64,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let gone = self.sim.with(|world| world.uevents.subscribers.remove(&self.id));
        drop(gone);
    }
}

#[async_trait]
impl UeventStream for Stream {
    async fn next(&mut self) -> Result<UeventNotice, HostError> {
        let (sim, id) = (&self.sim, self.id);
        std::future::poll_fn(|context| poll_notice(sim, id, context)).await
    }

    fn try_next(&mut self) -> Option<UeventNotice> {
        self.sim.with(|world| world.uevents.subscribers.get_mut(&self.id)?.queue.pop_front())
    }
}

fn poll_notice(sim: &Sim, id: u64, context: &mut Context<'_>) -> Poll<Result<UeventNotice, HostError>> {
    sim.with(|world| {
        let Some(subscriber) = world.uevents.subscribers.get_mut(&id) else { return Poll::Pending };
        match subscriber.queue.pop_front() {
            Some(notice) => Poll::Ready(Ok(notice)),
            None => {
                subscriber.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
}

/// A lock that is held.
struct Held {
    sim: Sim,
    token: u64,
}

impl LockGuard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.sim.with(|world| {
            world.locks.release(self.token);
            world.touch();
        });
    }
}

/// The bowline that has made open-iscsi's lock lives.
struct DatabaseGuard(Sim);

impl LockGuard for DatabaseGuard {}

impl Drop for DatabaseGuard {
    fn drop(&mut self) {
        self.0.with(|world| world.database.lock_is_held = false);
    }
}

#[async_trait]
impl Host for SimHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.quick(Call::Read, path)?;
        self.sim.with(|world| model::read(world, path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.quick(Call::List, path)?;
        self.sim.with(|world| model::list(world, path))
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.quick(Call::Link, path)?;
        self.sim.with(|world| model::read_link(world, path))
    }

    fn device_of(&self, path: &str) -> io::Result<Option<DevNumber>> {
        self.quick(Call::Link, path)?;
        let number = self.sim.with(|world| model::device_of(world, path))?;
        Ok(number.map(|(major, minor)| DevNumber { major, minor }))
    }

    fn dm(&self, id: &DmId) -> Result<Option<DmDevice>, HostError> {
        self.quick(Call::Dm, "device").map_err(|error| HostError::io("look at", "device-mapper", error))?;
        Ok(self.sim.with(|world| {
            let is_it = |map: &&model::Map| match id {
                DmId::Uuid(uuid) => uuid.strip_prefix("mpath-") == Some(map.wwid.as_str()),
                DmId::Name(name) => map.name == name.as_str(),
            };
            world.maps.values().find(is_it).map(|map| world.dm_device(map))
        }))
    }

    async fn run(&self, program: &Program) -> Result<Ended, HostError> {
        let command = program.to_string();
        self.discreet("an argument", &command);
        let hangs = self.slow(Call::Run, &command, program.limit).await?;
        self.intended(program.args.iter().any(|arg| arg == "new"), &command);
        let pid = self.pid;
        self.sim.with(|world| world.note("bowline", format_args!("{pid} runs {command}")));
        model::run_program(&self.sim, self.pid, program, hangs).await
    }

    async fn ask_multipathd(&self, command: &str, limit: Duration) -> Result<String, HostError> {
        let delay = self.slow(Call::Ask, command, limit).await?;
        self.sim.sleep(delay.min(limit)).await;
        if delay >= limit {
            return Err(HostError::timed_out("ask multipathd", command, limit));
        }
        model::ask(&self.sim, command, limit - delay).await
    }

    async fn blocking(&self, operation: &Blocking, limit: Duration) -> Result<Vec<u8>, HostError> {
        let what = operation.to_string();
        let delay = self.slow(Call::Blocking, &what, limit).await?;
        self.intended(what.ends_with("/scan"), &what);
        let pid = self.pid;
        self.sim.with(|world| world.note("bowline", format_args!("{pid} has done: {what}")));
        let result = self.helped(operation, limit, delay).await;
        self.sim.with(|world| match &result {
            Ok(_) => world.note("bowline", format_args!("{pid} done: {what}")),
            Err(error) => world.note("bowline", format_args!("{pid} {error}")),
        });
        result
    }

    fn flush_told(&self, device: &BlockName, _number: DevNumber) {
        self.sim.with(|world| world.flush_told(device.as_str()));
    }

    fn uevents(&self) -> Result<Box<dyn UeventStream>, HostError> {
        self.quick(Call::Uevents, "uevents").map_err(|e| HostError::io("subscribe to", "uevents", e))?;
        let id = self.sim.with(|world| {
            let id = world.serial();
            world.uevents.subscribers.insert(id, Subscriber::default());
            id
        });
        Ok(Box::new(Stream { sim: self.sim.clone(), id }))
    }

    fn now(&self) -> Moment {
        Moment(self.sim.now())
    }

    fn wall_clock(&self) -> u64 {
        1_795_000_000 + self.sim.now().as_secs()
    }

    async fn sleep_until(&self, moment: Moment) {
        self.sim.sleep_until(moment.0).await;
    }

    async fn lock(&self, name: &str, limit: Duration) -> Result<Box<dyn LockGuard>, HostError> {
        self.quick(Call::Lock, name).map_err(|error| HostError::io("lock", name, error))?;
        let by = self.sim.now() + limit;
        let pid = self.pid;
        let take = |world: &mut World| {
            if world.locks.held.get(name).is_some_and(|holders| !holders.is_empty()) {
                return None;
            }
            let token = world.serial();
            world.locks.held.entry(name.to_owned()).or_default().insert(token, pid);
            Some(token)
        };
        match self.sim.until_by(by, take).await {
            Some(token) => Ok(Box::new(Held { sim: self.sim.clone(), token })),
            None => Err(HostError::timed_out("lock", name, limit)),
        }
    }

    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.state(Call::Load, name)?;
        Ok(self.sim.with(|world| world.state.get(name).cloned()))
    }

    fn store_state(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.state(Call::Store, name)?;
        self.discreet("a state file", &String::from_utf8_lossy(bytes));
        let pid = self.pid;
        self.sim.with(|world| {
            world.note("bowline", format_args!("{pid} writes {name}"));
            world.state.insert(name.to_owned(), bytes.to_vec());
        });
        Ok(())
    }

    fn remove_state(&self, name: &str) -> Result<(), HostError> {
        self.state(Call::Remove, name)?;
        let pid = self.pid;
        self.sim.with(|world| {
            world.note("bowline", format_args!("{pid} removes {name}"));
            world.state.remove(name);
        });
        Ok(())
    }

    fn list_state(&self, folder: &str) -> Result<Vec<String>, HostError> {
        self.state(Call::Load, folder)?;
        Ok(self.sim.with(|world| {
            let names = world.state.keys().filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
            names.map(str::to_owned).collect()
        }))
    }

    fn replace_file(&self, path: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.quick(Call::Replace, path).map_err(|error| HostError::io("replace", path, error))?;
        self.intended(self.sim.with(|world| !world.database.files.contains_key(path)), path);
        self.sim.with(|world| {
            if world.database.lock.is_none() {
                world.wrong(format!("{path} is written without open-iscsi's lock"));
            }
            // A directory goes with its last record.
            if model::list(world, path.rsplit_once('/').map_or("", |(directory, _)| directory)).is_err() {
                return Err(HostError::io("replace", path, io::ErrorKind::NotFound.into()));
            }
            world.database.files.insert(path.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn patch_wwids(&self, change: &(dyn Fn(&[u8]) -> Vec<Patch> + Sync)) -> io::Result<()> {
        let path = "/etc/multipath/wwids";
        self.quick(Call::Patch, path)?;
        // multipathd and udev's `multipath -u` look at it all the time.
        if self.sim.with(|world| world.random.in_thousand(100)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut content = self.sim.with(|world| model::read(world, path))?;
        for patch in change(&content) {
            self.intended(patch.bytes.contains(&b'/'), "an identity is put on the wwids file");
            patch.apply(&mut content);
        }
        let pid = self.pid;
        self.sim.with(|world| {
            let text = String::from_utf8_lossy(&content);
            let on = text.lines().filter_map(|line| line.strip_prefix('/')?.strip_suffix('/'));
            world.wwids = on.map(str::to_owned).collect();
            let left = world.wwids.clone();
            world.note("bowline", format_args!("{pid} leaves on the wwids file: {left:?}"));
            world.touch();
        });
        Ok(())
    }

    fn create_lock(&self, path: &str, bytes: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.quick(Call::DatabaseLock, path)?;
        self.sim.with(|world| match world.database.lock {
            Some(_) => Err(io::ErrorKind::AlreadyExists),
            None => {
                world.database.lock = Some(bytes.to_vec());
                world.database.lock_is_held = true;
                Ok(())
            }
        })?;
        Ok(Box::new(DatabaseGuard(self.sim.clone())))
    }

    fn break_lock(&self, path: &str, mark: &[u8]) -> io::Result<()> {
        self.quick(Call::DatabaseLock, path)?;
        self.sim.with(|world| {
            let database = &mut world.database;
            let ours = database.lock.as_ref().is_some_and(|bytes| bytes.starts_with(mark));
            if ours && !database.lock_is_held {
                database.lock = None;
            }
        });
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.quick(Call::RemoveFile, path)?;
        self.sim.with(|world| {
            let removed = match path == DATABASE_LOCK {
                true => world.database.lock.take(),
                false => world.database.files.remove(path),
            };
            world.touch();
            removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn process_id(&self) -> u32 {
        self.pid
    }
}
