//! The host on this machine, as far as that goes without root, iSCSI and multipath.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bowline_host::host::{Blocking, DmId, Program, UeventNotice};
use bowline_host::names::{BlockName, DevNumber};
use bowline_host::{Host, HostError};
use bowline_linux::{LinuxHost, Settings};
use rustix::process::Pid;

/// Far beyond what a busy machine needs; no test waits that long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn host(&self) -> LinuxHost {
        LinuxHost::new(self.settings()).unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            state_dir: self.0.join("state"),
            run_dir: self.0.join("run"),
            helper: Some(env!("CARGO_BIN_EXE_bowline-helper").into()),
            ..Settings::default()
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn shell(script: &str, limit: Duration) -> Program {
    Program { name: "sh", args: vec!["-c".into(), script.into()], limit, abandon: false, keeps_locks: false }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_program_is_captured_in_a_fixed_environment() {
    let host = Scratch::new("captured").host();
    let script = "echo $LC_ALL; pwd; echo no >&2; echo ${HOME-none}; cat; exit 7";
    let ended = block_on(host.run(&shell(script, PATIENCE))).unwrap();
    assert_eq!(ended.code, Some(7));
    assert_eq!(ended.stdout, "C\n/\nnone\n");
    assert_eq!(ended.stderr, "no\n");
}

#[test]
fn a_program_that_writes_without_end_is_cut_at_a_mebibyte() {
    let host = Scratch::new("flood").host();
    let ended = block_on(host.run(&shell("yes 2>/dev/null; echo end >&2", PATIENCE))).unwrap();
    assert_eq!(ended.stdout.len(), 1 << 20);
    assert_eq!(ended.stderr, "end\n");
}

#[test]
fn a_daemon_left_behind_does_not_delay_the_result() {
    let host = Scratch::new("daemon").host();
    let start = Instant::now();
    let ended = block_on(host.run(&shell("sleep 20 & echo started", PATIENCE))).unwrap();
    assert_eq!(ended.stdout, "started\n");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_signal_is_not_an_exit_code() {
    let host = Scratch::new("signal").host();
    assert_eq!(block_on(host.run(&shell("kill -9 $$", PATIENCE))).unwrap().code, None);
}

#[test]
fn the_limit_of_a_program_is_kept() {
    let host = Scratch::new("limit").host();
    let program = Program {
        name: "sleep",
        args: vec!["100".into()],
        limit: Duration::from_millis(200),
        abandon: false,
        keeps_locks: false,
    };
    let start = Instant::now();
    let error = block_on(host.run(&program)).unwrap_err();
    // Far from the 100 s, with room for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(error.is_timeout());
    assert!(error.to_string().contains("sleep 100"), "{error}");
}

/// Starts a program and gives it up while it runs; returns its pid.
fn give_up(scratch: &Scratch, abandon: bool) -> Pid {
    let file = scratch.0.join("pid");
    let script = "echo $$ > new; mv new pid; until [ -e go ]; do sleep 0.05; done; echo more; echo > after; exec sleep 60";
    let mut program = shell(&format!("cd {} && {script}", scratch.0.display()), PATIENCE);
    program.abandon = abandon;
    let host = scratch.host();
    block_on(async {
        // Cancelled as soon as it has begun, which ends like the limit, but does not depend on how busy the
        // machine is.
        let running = tokio::spawn(async move { host.run(&program).await });
        until("the program has begun", || file.exists()).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    });
    Pid::from_raw(fs::read_to_string(file).unwrap().trim().parse().unwrap()).unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_program_given_up_is_told_to_end() {
    let scratch = Scratch::new("terminate");
    let pid = give_up(&scratch, false);
    // It is a child of this process and may not be reaped yet, so whether it lives shows in its state.
    let lives = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    block_on(until("the program has ended", || !lives()));
}

#[test]
fn a_program_that_must_be_left_alone_can_even_go_on_printing() {
    let scratch = Scratch::new("abandon");
    let pid = give_up(&scratch, true);
    fs::write(scratch.0.join("go"), "").unwrap();
    block_on(until("it has printed and gone on", || scratch.0.join("after").exists()));
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// B4, B6: iscsiadm goes on when we are killed, and whoever comes next waits until it is done with the database. A
/// program that may start a daemon gets no lock.
#[test]
fn b4_a_program_keeps_the_locks_it_was_started_under() {
    let scratch = Scratch::new("keeps-locks");
    let script =
        format!("cd {} && touch up; until [ -e go ]; do sleep 0.05; done; mv up over", scratch.0.display());
    for keeps_locks in [true, false] {
        let other = scratch.host();
        let program = Program { abandon: true, keeps_locks, ..shell(&script, PATIENCE) };
        block_on(async {
            let host = scratch.host();
            let held = host.lock("portal-1", PATIENCE).await.unwrap();
            let running = tokio::spawn(async move { host.run(&program).await });
            until("the program has begun", || scratch.0.join("up").exists()).await;
            running.abort();
            drop(held);
            let locked = other.lock("portal-1", Duration::from_millis(100)).await;
            assert_eq!(locked.is_err_and(|error| error.is_timeout()), keeps_locks);
            fs::write(scratch.0.join("go"), "").unwrap();
            other.lock("portal-1", PATIENCE).await.unwrap();
            until("the program has ended", || scratch.0.join("over").exists()).await;
        });
        fs::remove_file(scratch.0.join("go")).unwrap();
        fs::remove_file(scratch.0.join("over")).unwrap();
    }
}

/// B6: where a process has several threads, what another one starts meanwhile keeps no lock. A helper would keep it until its verb is over.
#[test]
fn b6_no_other_program_inherits_a_lock() {
    let scratch = Scratch::new("inherits-no-lock");
    let over = AtomicBool::new(false);
    let started = thread::scope(|scope| {
        // As a storage service starts programs, beside bowline.
        let beside = scope.spawn(|| {
            let mut started = Vec::new();
            while !over.load(Ordering::Relaxed) && started.len() < 500 {
                started.push(Command::new("sleep").arg("600").spawn().unwrap());
            }
            started
        });
        block_on(async {
            let host = scratch.host();
            let _held = host.lock("portal-1", PATIENCE).await.unwrap();
            let program = Program { keeps_locks: true, ..shell("exit 0", PATIENCE) };
            for _ in 0..100 {
                host.run(&program).await.unwrap();
            }
        });
        over.store(true, Ordering::Relaxed);
        beside.join().unwrap()
    });
    let locked =
        block_on(async { scratch.host().lock("portal-1", Duration::from_millis(100)).await.is_ok() });
    for mut child in started {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(locked, "a program that was to know nothing of it keeps the lock");
}

/// B6: of verbs side by side, what outlives one keeps that one's locks and no other's; one helper serves them all.
#[test]
fn b6_a_host_beside_has_locks_of_its_own_and_the_same_helper() {
    let scratch = Scratch::new("beside");
    let (script, starts) = (scratch.0.join("helper"), scratch.0.join("starts"));
    let helper = env!("CARGO_BIN_EXE_bowline-helper");
    let text = format!("#!/bin/sh\necho >>{}\nexec {helper} \"$@\"\n", starts.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let first = LinuxHost::new(Settings { helper: Some(script), ..scratch.settings() }).unwrap();
    let beside = first.beside();
    let write = Blocking::WriteSysfs { path: "/sys/class/none/here".into(), text: "1".into() };
    block_on(async {
        let own = first.lock("portal-1", PATIENCE).await.unwrap();
        let others = beside.lock("portal-2", PATIENCE).await.unwrap();
        let outlives =
            Program { keeps_locks: true, ..shell("sleep 600 >/dev/null 2>&1 & echo $!", PATIENCE) };
        let ended = first.run(&outlives).await.unwrap();
        for host in [&first, &beside, &first.beside()] {
            assert_eq!(host.blocking(&write, PATIENCE).await.unwrap_err().errno(), Some(2));
        }
        drop((own, first));
        assert_eq!(beside.blocking(&write, PATIENCE).await.unwrap_err().errno(), Some(2), "it serves on");
        drop((others, beside));
        let is_kept = async |name| scratch.host().lock(name, Duration::from_millis(100)).await.is_err();
        let kept = (is_kept("portal-1").await, is_kept("portal-2").await);
        let pid = ended.stdout.trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
        assert_eq!(kept, (true, false));
    });
    assert_eq!(fs::read_to_string(starts).unwrap().lines().count(), 1);
}

#[test]
fn a_missing_program_is_named() {
    let host = Scratch::new("missing").host();
    let program = Program {
        name: "bowline-no-such-program",
        args: vec![],
        limit: PATIENCE,
        abandon: false,
        keeps_locks: false,
    };
    let message = block_on(host.run(&program)).unwrap_err().to_string();
    assert!(message.contains("bowline-no-such-program: it was not found in"), "{message}");
}

#[test]
fn a_lock_excludes_names_its_holder_and_is_let_go() {
    let scratch = Scratch::new("lock");
    let (one, two) = (scratch.host(), scratch.host());
    block_on(async {
        let held = one.lock("volume-iqn.2001-04.com.example:a-1", PATIENCE).await.unwrap();
        let error =
            two.lock("volume-iqn.2001-04.com.example:a-1", Duration::from_millis(50)).await.err().unwrap();
        assert!(error.is_timeout());
        let (message, pid) = (error.to_string(), format!("pid {}", std::process::id()));
        assert!(message.contains("volume-iqn") && message.contains(&pid), "{message}");
        two.lock("another", PATIENCE).await.unwrap();
        drop(held);
        two.lock("volume-iqn.2001-04.com.example:a-1", PATIENCE).await.unwrap();
        assert!(two.lock("../escape", PATIENCE).await.is_err());
    });
    assert_eq!(mode(scratch.0.join("run")), 0o700);
    assert_eq!(mode(scratch.0.join("run/locks/another")), 0o600);
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_let_go() {
    let scratch = Scratch::new("waiter");
    let (one, two) = (scratch.host(), scratch.host());
    block_on(async {
        let held = one.lock("a", PATIENCE).await.unwrap();
        let waiter = tokio::spawn(async move { two.lock("a", PATIENCE).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiter.is_finished());
        drop(held);
        waiter.await.unwrap().unwrap();
    });
}

#[test]
fn state_is_private_replaced_whole_and_survives_a_leftover() {
    let scratch = Scratch::new("state");
    let host = scratch.host();
    assert_eq!(host.load_state("journal/a").unwrap(), None);
    assert!(host.list_state("journal").unwrap().is_empty());
    assert!(!scratch.0.join("state").exists(), "looking makes nothing");
    host.store_state("journal/a", b"one").unwrap();
    // What a crash between writing and renaming leaves.
    fs::write(scratch.0.join("state/journal/.bowline-999999999-0"), "half").unwrap();
    fs::write(scratch.0.join("state/journal/.a.new"), "half").unwrap();
    assert_eq!(host.load_state("journal/a").unwrap().unwrap(), b"one");
    assert_eq!(host.list_state("journal").unwrap(), ["a"]);
    host.store_state("journal/a", b"two").unwrap();
    host.store_state("journal/0", b"").unwrap();
    assert_eq!(scratch.host().load_state("journal/a").unwrap().unwrap(), b"two");
    assert_eq!(host.list_state("journal").unwrap(), ["0", "a"]);
    assert!(!scratch.0.join("state/journal/.bowline-999999999-0").exists(), "the next writer tidies up");
    assert_eq!(mode(scratch.0.join("state")), 0o700);
    assert_eq!(mode(scratch.0.join("state/journal/a")), 0o600);
    fs::write(scratch.0.join("state/journal/.bowline-999999999-1"), "half").unwrap();
    host.remove_state("journal/a").unwrap();
    assert!(!scratch.0.join("state/journal/.bowline-999999999-1").exists(), "so does who only removes");
    host.remove_state("journal/a").unwrap();
    assert_eq!(host.load_state("journal/a").unwrap(), None);
}

#[test]
fn a_state_directory_others_can_write_to_is_refused() {
    let scratch = Scratch::new("writable");
    let host = scratch.host();
    host.store_state("journal/a", b"one").unwrap();
    fs::set_permissions(scratch.0.join("state"), fs::Permissions::from_mode(0o770)).unwrap();
    for error in [host.load_state("journal/a").unwrap_err(), host.store_state("journal/a", b"").unwrap_err()]
    {
        assert!(error.to_string().contains("others can write to it"), "{error}");
    }
    fs::remove_dir_all(scratch.0.join("state")).unwrap();
    std::os::unix::fs::symlink("/tmp", scratch.0.join("state")).unwrap();
    let message = host.load_state("journal/a").unwrap_err().to_string();
    assert!(message.contains("not a directory"), "{message}");
}

#[test]
fn the_helper_refuses_what_is_not_sysfs_and_reports_what_is_missing() {
    let host = Scratch::new("helper").host();
    let number = DevNumber { major: 8, minor: 0 };
    let write = |path: &str| Blocking::WriteSysfs { path: path.into(), text: "1".into() };
    block_on(async {
        let kind = |result: Result<Vec<u8>, HostError>| result.unwrap_err().io_kind().unwrap();
        for path in ["/etc/hostname", "/sys/../etc/hostname"] {
            let error = host.blocking(&write(path), PATIENCE).await;
            assert_eq!(kind(error), std::io::ErrorKind::PermissionDenied);
        }
        let absent = "sd-none".parse().unwrap();
        let sync = Blocking::Sync { device: absent, number };
        let read = Blocking::ReadFirst { device: "sd-none".parse().unwrap(), number };
        for operation in [write("/sys/class/none/here"), sync, read] {
            let error = host.blocking(&operation, PATIENCE).await.unwrap_err();
            assert_eq!(error.errno(), Some(2), "{error}");
        }
    });
}

/// A block device this process may read, with its number. Without root, or in a container, there is none.
fn readable_device() -> Option<(BlockName, DevNumber)> {
    let names = fs::read_dir("/sys/class/block").ok()?;
    names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<BlockName>().ok()).find_map(|name| {
        let attribute = |which| fs::read_to_string(format!("/sys/class/block/{name}/{which}")).ok();
        let large = attribute("size")?.trim().parse::<u64>().ok()? >= 8;
        (large && fs::File::open(name.device_node()).is_ok()).then_some(())?;
        Some((name.clone(), attribute("dev")?.parse().ok()?))
    })
}

#[test]
fn a_device_is_read_and_synced_under_its_own_number_only() {
    let Some((device, number)) = readable_device() else { return };
    let host = Scratch::new("device").host();
    block_on(async {
        let read = Blocking::ReadFirst { device: device.clone(), number };
        assert_eq!(host.blocking(&read, PATIENCE).await.unwrap().len(), 4096);
        let sync = Blocking::Sync { device: device.clone(), number };
        assert_eq!(host.blocking(&sync, PATIENCE).await.unwrap(), b"");
        let other = DevNumber { minor: number.minor + 1, ..number };
        let error = host.blocking(&Blocking::Sync { device, number: other }, PATIENCE).await.unwrap_err();
        assert_eq!(error.io_kind(), Some(std::io::ErrorKind::StaleNetworkFileHandle), "{error}");
        assert!(error.to_string().contains(&format!("is device {number} now, expected {other}")), "{error}");
    });
}

#[test]
fn a_missing_helper_is_named_with_a_hint() {
    let scratch = Scratch::new("no-helper");
    let host =
        LinuxHost::new(Settings { helper: Some("/nowhere/helper".into()), ..scratch.settings() }).unwrap();
    let operation = Blocking::WriteSysfs { path: "/sys/x/y".into(), text: "1".into() };
    let message = block_on(host.blocking(&operation, PATIENCE)).unwrap_err().to_string();
    assert!(message.contains("/nowhere/helper") && message.contains("BOWLINE_HELPER"), "{message}");
}

#[test]
fn a_helper_of_another_kind_is_an_error_and_no_hang() {
    let scratch = Scratch::new("wrong-helper");
    let host = LinuxHost::new(Settings { helper: Some("/bin/false".into()), ..scratch.settings() }).unwrap();
    let operation = Blocking::WriteSysfs { path: "/sys/x/y".into(), text: "1".into() };
    let message = block_on(host.blocking(&operation, PATIENCE)).unwrap_err().to_string();
    assert!(message.contains("the helper ended"), "{message}");
}

#[test]
fn device_mapper_answers_or_says_why_not() {
    let host = Scratch::new("dm").host();
    match host.dm(&DmId::Uuid("mpath-bowline-no-such-map".into())) {
        Ok(found) => assert_eq!(found, None),
        Err(error) => assert!(error.to_string().contains("/dev/mapper/control"), "{error}"),
    }
}

#[test]
fn a_write_to_sysfs_goes_through_the_helper_and_an_event_of_no_block_device_wakes_nobody() {
    let host = Scratch::new("uevent").host();
    block_on(async {
        let mut events = host.uevents().unwrap();
        // Asking for a synthetic event needs root and a writable sysfs; without them subscribing was the test.
        let attribute = "/sys/class/mem/null/uevent";
        let ask = Blocking::WriteSysfs { path: attribute.into(), text: "change".into() };
        match host.blocking(&ask, PATIENCE).await {
            Ok(bytes) => assert_eq!(bytes, b""),
            Err(_) => return assert!(fs::write(attribute, "change").is_err()),
        }
        while let Some(notice) = events.try_next() {
            assert!(!matches!(notice, UeventNotice::Event(event) if event.devpath.contains("/mem/")));
        }
    });
}
