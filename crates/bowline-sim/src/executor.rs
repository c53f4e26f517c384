//! Virtual time: tasks run in a fixed order until all of them wait, then the clock jumps to the next timer.
//!
//! Everything that happens on the host is a task: a bowline process, a program it has started, a login inside iscsid, a
//! worker of udev. One thread polls them in the order in which they were woken, and timers fire in the order of their times,
//! so that one seed means one history.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::model::World;

/// Names a task.
pub type TaskId = u64;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// More polls than this without the clock moving: something spins.
const MOST_POLLS_AT_ONCE: u32 = 200_000;

/// What the executor keeps inside the world.
#[derive(Default)]
pub struct Clock {
    now: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    next_timer: u64,
    next_task: TaskId,
    spawned: Vec<(TaskId, Task)>,
    killed: Vec<TaskId>,
    /// How often the world has changed, and who waits for its next change.
    changes: u64,
    watchers: Vec<Waker>,
}

impl Clock {
    /// Now.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Whoever runs takes that long for what he does: nobody else runs meanwhile.
    pub fn spend(&mut self, time: Duration) {
        self.now += time;
    }

    /// Something that others may wait for has changed.
    pub fn touch(&mut self) {
        self.changes += 1;
        self.watchers.drain(..).for_each(Waker::wake);
    }

    fn name_task(&mut self) -> TaskId {
        self.next_task += 1;
        self.next_task
    }
}

/// A process that ends here and now, as by SIGKILL: what unwinds its task.
pub struct Death;

/// The world, shared by everything that runs in it.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
}

impl Sim {
    /// A world at its beginning.
    pub fn new(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Looks at the world or changes it. Never across an await.
    pub fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now.
    pub fn now(&self) -> Duration {
        self.lock().clock.now
    }

    /// Runs beside everything else.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskId {
        let clock = &mut self.lock().clock;
        let name = clock.name_task();
        clock.spawned.push((name, Box::pin(task)));
        name
    }

    /// Ends a task where it stands: its destructors run, nothing else does.
    pub fn kill(&self, task: TaskId) {
        self.lock().clock.killed.push(task);
    }

    /// Lets time pass.
    pub async fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        self.sleep_until(until).await;
    }

    /// Waits for a moment.
    pub fn sleep_until(&self, until: Duration) -> Sleep {
        Sleep { sim: self.clone(), until, timer: None }
    }

    /// Waits until the world answers.
    pub async fn until<T>(&self, mut ask: impl FnMut(&mut World) -> Option<T>) -> T {
        loop {
            let seen = match self.with(|world| ask(world).ok_or(world.clock.changes)) {
                Ok(answer) => return answer,
                Err(seen) => seen,
            };
            Changed { sim: self, seen }.await;
        }
    }

    /// Waits until the world answers, but no longer than that.
    pub async fn until_by<T>(&self, by: Duration, mut ask: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
        let mut sleep = self.sleep_until(by);
        loop {
            let (seen, late) =
                match self.with(|world| ask(world).ok_or((world.clock.changes, world.clock.now))) {
                    Ok(answer) => return Some(answer),
                    Err((seen, now)) => (seen, now >= by),
                };
            if late {
                return None;
            }
            let mut changed = Changed { sim: self, seen };
            std::future::poll_fn(|context| {
                match (Pin::new(&mut changed).poll(context), Pin::new(&mut sleep).poll(context)) {
                    (Poll::Pending, Poll::Pending) => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }
    }
}

/// Waits for the world to change after it was looked at.
struct Changed<'a> {
    sim: &'a Sim,
    seen: u64,
}

impl Future for Changed<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut world = self.sim.lock();
        if world.clock.changes != self.seen {
            return Poll::Ready(());
        }
        if !world.clock.watchers.iter().any(|waker| waker.will_wake(context.waker())) {
            world.clock.watchers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// Waits for a moment.
pub struct Sleep {
    sim: Sim,
    until: Duration,
    timer: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let known = self.timer;
        let timer = self.sim.with(|world| {
            let clock = &mut world.clock;
            if clock.now >= until {
                return None;
            }
            let key = known.unwrap_or_else(|| {
                clock.next_timer += 1;
                (until, clock.next_timer)
            });
            clock.timers.insert(key, context.waker().clone());
            Some(key)
        });
        self.timer = timer;
        if timer.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.sim.with(|world| world.clock.timers.remove(&timer));
        }
    }
}

type Ready = Arc<Mutex<VecDeque<TaskId>>>;

/// Wakes one task; it stands in the queue once.
struct TaskWaker {
    task: TaskId,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.task);
        }
    }
}

/// How a history ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The main task came to its end.
    Done,
    /// Everything waits, and nothing will happen any more.
    Stuck,
    /// Something runs for ever without time passing.
    Spins,
    /// A task panicked: where and why.
    Panicked(String),
}

/// Takes tasks that stay on their thread: the engine's futures are such.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<Vec<(TaskId, LocalTask)>>>);

impl Spawner {
    /// Runs beside everything else.
    pub fn spawn(&self, sim: &Sim, task: impl Future<Output = ()> + 'static) -> TaskId {
        let name = sim.with(|world| world.clock.name_task());
        self.0.borrow_mut().push((name, Box::pin(task)));
        name
    }
}

/// Runs a history until its main task ends. What still runs then is dropped.
pub fn run(sim: &Sim, spawner: &Spawner, main: impl Future<Output = ()> + 'static) -> Ended {
    let ready: Ready = Arc::default();
    let mut tasks: BTreeMap<TaskId, (LocalTask, Arc<TaskWaker>)> = BTreeMap::new();
    let main = spawner.spawn(sim, main);
    let mut polls = 0;
    let ended = loop {
        let spawned = sim.with(|world| std::mem::take(&mut world.clock.spawned));
        let spawned = spawned.into_iter().map(|(task, future)| (task, future as LocalTask));
        for (task, future) in spawned.chain(spawner.0.take()) {
            let waker = TaskWaker { task, queued: AtomicBool::new(true), ready: ready.clone() };
            ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
            tasks.insert(task, (future, Arc::new(waker)));
        }
        for killed in sim.with(|world| std::mem::take(&mut world.clock.killed)) {
            drop(tasks.remove(&killed));
            sim.with(|world| world.clock.touch());
        }
        let next = ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(task) = next else {
            polls = 0;
            if !to_next_timer(sim) {
                break Ended::Stuck;
            }
            continue;
        };
        polls += 1;
        if polls > MOST_POLLS_AT_ONCE {
            break Ended::Spins;
        }
        let Some((future, waker)) = tasks.get_mut(&task) else { continue };
        waker.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(waker.clone());
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => continue,
            Ok(Poll::Ready(())) => {}
            Err(payload) if payload.is::<Death>() => {}
            Err(payload) => break Ended::Panicked(words(&*payload)),
        }
        drop(tasks.remove(&task));
        if task == main {
            break Ended::Done;
        }
        sim.with(|world| world.clock.touch());
    };
    // Tasks hold the world, and the world what they have spawned.
    drop(tasks);
    spawner.0.take();
    sim.with(|world| {
        let left = std::mem::take(&mut world.clock.spawned);
        world.clock.timers.clear();
        world.clock.watchers.clear();
        left
    });
    ended
}

/// The clock jumps to the next timer and wakes all that are due; false when there is none.
fn to_next_timer(sim: &Sim) -> bool {
    let due = sim.with(|world| {
        let clock = &mut world.clock;
        let (next, _) = *clock.timers.first_key_value()?.0;
        clock.now = clock.now.max(next);
        let later = clock.timers.split_off(&(clock.now, u64::MAX));
        Some(std::mem::replace(&mut clock.timers, later))
    });
    match due {
        Some(due) => {
            due.into_values().for_each(Waker::wake);
            true
        }
        None => false,
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".into())
}
