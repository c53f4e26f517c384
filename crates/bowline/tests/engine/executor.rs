//! Virtual time: a future runs until it waits, and then the clock jumps to the next sleeper.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::host::FakeHost;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a future to its end.
pub fn run<T>(host: &FakeHost, future: impl Future<Output = T>) -> T {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(woken.clone());
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        if !woken.0.swap(false, Ordering::SeqCst) {
            assert!(host.to_next_sleeper(), "everything waits, and nothing will happen");
        }
    }
}
