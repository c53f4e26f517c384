//! Asking a running verb to stop: it then cleans up and ends (SIGINT, SIGTERM and SIGHUP in the command).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct Shared {
    asked: bool,
    wakers: Vec<Waker>,
}

/// The asking side.
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<Mutex<Shared>>);

/// The listening side: a future that is ready once it was asked.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Mutex<Shared>>);

impl Canceller {
    /// Asks.
    pub fn cancel(&self) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.asked = true;
        shared.wakers.drain(..).for_each(Waker::wake);
    }

    /// A listener.
    pub fn listener(&self) -> Cancel {
        Cancel(self.0.clone())
    }
}

impl Cancel {
    /// A listener that is never asked.
    pub fn never() -> Self {
        Self::default()
    }

    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked
    }
}

impl Future for Cancel {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.asked {
            return Poll::Ready(());
        }
        if !shared.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            shared.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}
