//! The programs bowline runs. Each goes on when whoever started it is gone, and keeps the locks it was given.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline_host::HostError;
use bowline_host::host::{Ended, Program};

use super::{World, iscsiadm, maps, multipathd};
use crate::executor::Sim;

/// Starts a program and waits for its end, or for its limit; `hangs` makes it stand still for that long first.
pub async fn run_program(
    sim: &Sim,
    pid: u32,
    program: &Program,
    hangs: Duration,
) -> Result<Ended, HostError> {
    let answer: Arc<Mutex<Option<(i32, String)>>> = Arc::default();
    let (told, work, args) = (answer.clone(), sim.clone(), program.args.clone());
    let (name, keeps) = (program.name, program.keeps_locks);
    let (token, own) = sim.with(|world| {
        let token = world.serial();
        if keeps {
            world.locks.inherit(pid, token);
        }
        let own = world.start_process(name, 1);
        if let Some(process) = world.processes.get_mut(&own) {
            process.args.clone_from(&args);
        }
        (token, own)
    });
    let task = sim.spawn(async move {
        work.sleep(hangs).await;
        let ended = match name {
            "iscsiadm" => iscsiadm::run(&work, args).await,
            "multipath" => multipathd::program(&work, &args).await,
            "dmsetup" => maps::dmsetup(&work, &args).await,
            _ => (127, format!("{name}: not found\n")),
        };
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        work.with(|world| {
            world.locks.release(token);
            world.end_process(own);
        });
    });
    let mut running = Running { sim: sim.clone(), pid, own, task, token, ends: !program.abandon };
    let by = sim.now() + program.limit;
    let ask = |_: &mut World| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    match sim.until_by(by, ask).await {
        Some((code, stderr)) => {
            running.ends = false;
            Ok(Ended { code: Some(code), stdout: String::new(), stderr })
        }
        None => Err(HostError::timed_out("run", program.to_string(), program.limit)),
    }
}

/// A program that is waited for: at the limit, or when nobody waits any more, it is told to end, unless it must be let
/// alone. A process that was killed tells nobody anything.
struct Running {
    sim: Sim,
    /// Whoever waits for it.
    pid: u32,
    own: u32,
    task: u64,
    token: u64,
    ends: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ends && self.sim.with(|world| world.processes.contains_key(&self.pid)) {
            self.sim.kill(self.task);
            self.sim.with(|world| {
                world.locks.release(self.token);
                world.end_process(self.own);
            });
        }
    }
}
