//! What happens to operations that never end.
//!
//! Nothing that really blocks in the kernel can be had without root and a broken device, so this executable
//! is its own helper: started with the helper's argument it serves operations that block, die or answer on
//! demand, and everything but the operation itself is the real thing.

use std::ffi::CStr;
use std::fs;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bowline_host::host::Blocking;
use bowline_host::{Host, HostError};
use bowline_linux::helper::{self, OperationFailed};
use bowline_linux::{LinuxHost, Settings};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

/// Far beyond what a busy machine needs; no test waits that long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a child that blocks calls itself.
const BLOCKED: &CStr = c"blocked";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(helper::ARGUMENT) {
        return helper::main(on_demand);
    }
    run("an abandoned operation is ended", abandoned_is_ended);
    run("others are served while one blocks", others_are_served);
    run("a cancelled operation is ended", cancelled_is_ended);
    run("a child that dies is reported", death_is_reported);
    run("a child that cannot be watched is reported", without_a_watch_it_dies);
    run("a helper that dies is replaced", helper_is_replaced);
    run("the helper ignores interruptions", interruptions_are_ignored);
    run("the helper ends with its host", helper_ends_with_its_host);
    ExitCode::SUCCESS
}

fn on_demand(operation: &Blocking) -> Result<Vec<u8>, OperationFailed> {
    let Blocking::WriteSysfs { text, .. } = operation else { return Ok(Vec::new()) };
    match text.as_str() {
        "block" => {
            // For `blocked`: a child that has reported lives on for a moment, and is not to be counted.
            rustix::thread::set_name(BLOCKED).unwrap();
            loop {
                sleep(Duration::from_secs(3600));
            }
        }
        "die" => std::process::exit(3),
        "panic" => panic!("on demand"),
        text => Ok(text.as_bytes().to_vec()),
    }
}

fn run<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Arc<LinuxHost>) -> F) {
    let run_dir =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("abandon-{}", std::process::id()));
    let settings = Settings {
        helper: Some(std::env::current_exe().unwrap()),
        run_dir: run_dir.clone(),
        ..Settings::default()
    };
    let host = Arc::new(LinuxHost::new(settings).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(host));
    // The helper ends when it notices that its host and the runtime's tasks have gone; the next test must not count it.
    drop(runtime);
    let start = Instant::now();
    while !children(std::process::id()).is_empty() {
        assert!(start.elapsed() < PATIENCE, "{name}: the helper is still there");
        sleep(Duration::from_millis(5));
    }
    fs::remove_dir_all(run_dir).unwrap();
    eprintln!("{name} … ok");
}

async fn ask(host: &LinuxHost, text: &str, limit: Duration) -> Result<Vec<u8>, HostError> {
    let operation = Blocking::WriteSysfs { path: "/sys/on/demand".into(), text: text.into() };
    host.blocking(&operation, limit).await
}

/// The living children of a process.
fn children(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let alive = fields.next()? != "Z";
        let parent = fields.next()?.parse::<u32>().ok()?;
        alive.then_some(parent)
    };
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The children of a helper that have begun to block.
fn blocked(helper: u32) -> Vec<u32> {
    let comm = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children(helper).into_iter().filter(|pid| comm(pid).trim() == BLOCKED.to_str().unwrap()).collect()
}

fn helper_of_this_process() -> u32 {
    match children(std::process::id())[..] {
        [pid] => pid,
        ref other => panic!("expected one helper, found {other:?}"),
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn abandoned_is_ended(host: Arc<LinuxHost>) {
    let error = ask(&host, "block", Duration::from_millis(200)).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let helper = helper_of_this_process();
    until("the child is gone", || children(helper).is_empty()).await;
    assert_eq!(ask(&host, "hello", PATIENCE).await.unwrap(), b"hello");
    assert_eq!(helper_of_this_process(), helper, "one helper serves all operations");
}

async fn others_are_served(host: Arc<LinuxHost>) {
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move { ask(&host, "block", 10 * PATIENCE).await })
        })
        .collect();
    for number in 0..20 {
        let text = format!("hello {number}");
        assert_eq!(ask(&host, &text, PATIENCE).await.unwrap(), text.as_bytes());
    }
    let helper = helper_of_this_process();
    until("all have begun", || blocked(helper).len() == 5).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
}

async fn cancelled_is_ended(host: Arc<LinuxHost>) {
    let task = {
        let host = host.clone();
        tokio::spawn(async move { ask(&host, "block", 10 * PATIENCE).await })
    };
    ask(&host, "hello", PATIENCE).await.unwrap();
    let helper = helper_of_this_process();
    until("the child has begun", || blocked(helper).len() == 1).await;
    task.abort();
    until("the child is gone", || children(helper).is_empty()).await;
}

async fn death_is_reported(host: Arc<LinuxHost>) {
    for how in ["die", "panic"] {
        let message = ask(&host, how, PATIENCE).await.unwrap_err().to_string();
        assert!(message.contains("ended without a result"), "{message}");
    }
}

async fn without_a_watch_it_dies(host: Arc<LinuxHost>) {
    ask(&host, "hello", PATIENCE).await.unwrap();
    let helper = Pid::from_raw(helper_of_this_process() as i32);
    // Its socket, two times /dev/null, and no descriptor more.
    let limit = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let before = prlimit(helper, Resource::Nofile, limit).unwrap();
    let message = ask(&host, "block", PATIENCE).await.unwrap_err().to_string();
    assert!(message.contains("ended without a result"), "{message}");
    prlimit(helper, Resource::Nofile, before).unwrap();
    assert_eq!(ask(&host, "hello", PATIENCE).await.unwrap(), b"hello");
}

async fn helper_is_replaced(host: Arc<LinuxHost>) {
    let pending = {
        let host = host.clone();
        tokio::spawn(async move { ask(&host, "block", 10 * PATIENCE).await })
    };
    ask(&host, "hello", PATIENCE).await.unwrap();
    let helper = helper_of_this_process();
    until("the child has begun", || blocked(helper).len() == 1).await;
    let child = blocked(helper)[0];
    kill_process(Pid::from_raw(helper as i32).unwrap(), Signal::KILL).unwrap();
    let message = pending.await.unwrap().unwrap_err().to_string();
    assert!(message.contains("the helper ended (signal: 9"), "{message}");
    until("the child died with its helper", || !fs::exists(format!("/proc/{child}")).unwrap()).await;
    assert_eq!(ask(&host, "again", PATIENCE).await.unwrap(), b"again");
    assert_ne!(helper_of_this_process(), helper);
}

async fn interruptions_are_ignored(host: Arc<LinuxHost>) {
    ask(&host, "hello", PATIENCE).await.unwrap();
    let helper = helper_of_this_process();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(Pid::from_raw(helper as i32).unwrap(), signal).unwrap();
    }
    assert_eq!(ask(&host, "again", PATIENCE).await.unwrap(), b"again");
    assert_eq!(helper_of_this_process(), helper);
}

async fn helper_ends_with_its_host(host: Arc<LinuxHost>) {
    let error = ask(&host, "block", Duration::from_millis(50)).await.unwrap_err();
    assert!(error.is_timeout());
    drop(host);
    until("the helper is gone", || children(std::process::id()).is_empty()).await;
}
