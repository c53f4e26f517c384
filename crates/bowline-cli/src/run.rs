//! Runs a verb: the runtime (one thread is enough, as what can block is done by the host's helpers), the
//! observer, what signals do, and what a bug of ours does.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bowline::{Cancel, Canceller, Error, ErrorKind, Event, Observer};
use bowline_host::Host;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ReportArgs;
use crate::progress::{Display, FRAME};
use crate::remains::Remains;
use crate::{failure, host};

/// Runs a verb to its end, or to its clean-up when a signal asks for it (C1). Where it runs into a bug, what may be left is named.
pub fn verb<T>(
    report: ReportArgs,
    work: impl AsyncFnOnce(&dyn Host, &dyn Observer, Cancel) -> Result<T, Error>,
) -> Result<T, Error> {
    verb_or_undo(report, work, async |_, _| None)
}

/// As [`verb`]; and where it runs into a bug, `undo` removes what it has made, once (C1), and tells the error, or that it could not try.
pub fn verb_or_undo<T>(
    report: ReportArgs,
    work: impl AsyncFnOnce(&dyn Host, &dyn Observer, Cancel) -> Result<T, Error>,
    undo: impl AsyncFnOnce(&dyn Observer, Error) -> Option<Error>,
) -> Result<T, Error> {
    in_runtime(async {
        let watcher = Watcher::new(Display::new(report));
        let canceller = Canceller::default();
        let work = async {
            let host = host::open()?;
            work(&*host, &watcher, canceller.listener()).await
        };
        let result = guarded(outlived(work, undo, &watcher), &canceller, &watcher).await;
        watcher.display.finish();
        result
    })
}

/// A verb that outlives its own bugs.
async fn outlived<T>(
    work: impl Future<Output = Result<T, Error>>,
    undo: impl AsyncFnOnce(&dyn Observer, Error) -> Option<Error>,
    watcher: &Watcher,
) -> Result<T, Error> {
    if let Some(result) = unless_it_panics(work).await {
        return result;
    }
    let undone = unless_it_panics(undo(watcher, failure::bug())).await.flatten();
    Err(undone.unwrap_or_else(|| failure::bug().leaving(watcher.remains())))
}

/// A future to its end. With a panic everything it had goes, its locks above all.
async fn unless_it_panics<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Looks at the host, without anything that could be interrupted half-way.
pub fn look<T>(work: impl FnOnce(&dyn Host) -> Result<T, Error>) -> Result<T, Error> {
    in_runtime(async { work(&*host::open()?) })
}

fn in_runtime<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    let result = runtime.block_on(work);
    // What is still under way elsewhere is not waited for.
    runtime.shutdown_background();
    result
}

fn no_runtime(error: io::Error) -> Error {
    Error::new(ErrorKind::Host, "the command cannot start its runtime; nothing was touched").cause(error)
}

/// The observer: shows what happens, and remembers what is there.
struct Watcher {
    display: Display,
    remains: Mutex<Remains>,
    began: Instant,
}

impl Watcher {
    fn new(display: Display) -> Self {
        Self { display, remains: Mutex::default(), began: Instant::now() }
    }

    fn remains(&self) -> Vec<String> {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

impl Observer for Watcher {
    fn event(&self, at: Duration, event: &Event) {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner).note(event);
        self.display.show(at, event);
    }
}

/// What woke the command.
enum Woken<T> {
    Ended(T),
    Signalled,
    Frame,
}

/// Waits for the verb. The first SIGINT, SIGTERM or SIGHUP asks it to clean up and end; the second leaves at once.
async fn guarded<T>(
    work: impl Future<Output = Result<T, Error>>,
    canceller: &Canceller,
    watcher: &Watcher,
) -> Result<T, Error> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    if !hangup_is_ignored() {
        kinds.push(SignalKind::hangup());
    }
    let mut signals =
        kinds.into_iter().map(signal).collect::<Result<Vec<Signal>, _>>().map_err(no_runtime)?;
    let mut frames = watcher.display.moves().then(|| tokio::time::interval(FRAME));
    let mut work = pin!(work);
    let mut asked = false;
    loop {
        let woken = poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(Woken::Ended(result));
            }
            // Without any, all are polled, so that all wake us.
            if signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
                return Poll::Ready(Woken::Signalled);
            }
            match frames.as_mut().map(|frames| frames.poll_tick(context)) {
                Some(Poll::Ready(_)) => Poll::Ready(Woken::Frame),
                _ => Poll::Pending,
            }
        });
        match woken.await {
            Woken::Ended(result) => return result,
            Woken::Frame => watcher.display.draw(),
            Woken::Signalled if asked => return Err(left(watcher)),
            Woken::Signalled => {
                asked = true;
                canceller.cancel();
                let text = "interrupted: cleaning up; a second signal leaves at once".into();
                watcher.display.show(watcher.began.elapsed(), &Event::Note { text });
            }
        }
    }
}

/// Whether whoever started us wants us to outlive the terminal (nohup): a handler would undo that.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}

/// The end at a second signal: the clean-up is not awaited.
fn left(watcher: &Watcher) -> Error {
    let what = "interrupted again: left before the clean-up had ended, so something may remain";
    Error::new(ErrorKind::Leftovers, what).leaving(watcher.remains()).hint(
        "`bowline inspect` shows what is there; `bowline disconnect` with the same connection removes it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;

    use rustix::process::{Signal, getpid, kill_process};

    fn kill(signal: Signal) {
        kill_process(getpid(), signal).unwrap();
    }

    /// C1: the first signal asks the verb to clean up, and its own result counts; the second leaves at once
    /// and says what may remain. One test, since signals reach the whole process.
    #[test]
    fn c1_signals() {
        let watcher = Watcher::new(Display::None);
        let canceller = Canceller::default();
        let cleans_up = async {
            kill(Signal::TERM);
            canceller.listener().await;
            Err::<(), _>(Error::new(ErrorKind::NotAttached, "undone"))
        };
        let error = in_runtime(guarded(cleans_up, &canceller, &watcher)).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotAttached, "undone"));

        let canceller = Canceller::default();
        watcher.event(Duration::ZERO, &Event::DeviceDeleting { device: "sda".parse().unwrap() });
        let hangs = async {
            kill(Signal::INT);
            canceller.listener().await;
            kill(Signal::TERM);
            std::future::pending::<Result<(), Error>>().await
        };
        let error = in_runtime(guarded(hangs, &canceller, &watcher)).unwrap_err();
        assert_eq!(error.kind.exit_code(), 4);
        assert_eq!(error.leftovers, ["device sda"]);
    }

    /// C1, D9: a bug ends the verb and not its clean-up, once; where that cannot be had, what may be left is named.
    #[test]
    fn c1_d9_a_bug_is_outlived() {
        let watcher = Watcher::new(Display::None);
        watcher.event(Duration::ZERO, &Event::DeviceDeleting { device: "sda".parse().unwrap() });
        let with_a_bug = || async {
            tokio::task::yield_now().await;
            resume_unwind(Box::new("a bug"));
            #[allow(unreachable_code, reason = "it says what the verb would give")]
            Ok::<(), Error>(())
        };
        let told = |work: Result<(), Error>| work.unwrap_err();

        let undo = async |_: &dyn Observer, bug: Error| Some(bug.cause("undone"));
        let error = told(in_runtime(outlived(with_a_bug(), undo, &watcher)));
        assert_eq!((error.kind, &*error.causes), (ErrorKind::Internal, &["undone".to_owned()][..]));
        assert!(error.leftovers.is_empty());

        let none = async |_: &dyn Observer, _: Error| None;
        let buggy = async |_: &dyn Observer, _: Error| resume_unwind(Box::new("another bug"));
        let neither = [
            told(in_runtime(outlived(with_a_bug(), none, &watcher))),
            told(in_runtime(outlived(with_a_bug(), buggy, &watcher))),
        ];
        for error in neither {
            assert_eq!((error.kind.exit_code(), &*error.leftovers), (4, &["device sda".to_owned()][..]));
        }
        let well = async { Ok(7) };
        assert_eq!(in_runtime(outlived(well, async |_: &dyn Observer, _: Error| None, &watcher)), Ok(7));
    }
}
