//! A future that is polled explicitly, so that a case controls every step.

use std::{
    future::IntoFuture,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use concurrent_locks::Error;

use crate::wait::until;

/// A future with a waker that counts. Dropping it drops the future, which is how cases cancel.
pub struct Polled<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Polled<F> {
    /// Takes anything that can be awaited; does not poll it.
    pub fn new(future: impl IntoFuture<IntoFuture = F, Output = F::Output>) -> Polled<F> {
        Polled { future: Box::pin(future.into_future()), wakes: Arc::new(Wakes(AtomicUsize::new(0))) }
    }

    /// The same, polled once and found pending: a request is in the queue now.
    ///
    /// # Panics
    /// If it is ready.
    #[track_caller]
    pub fn queued(future: impl IntoFuture<IntoFuture = F, Output = F::Output>) -> Polled<F> {
        let mut polled = Polled::new(future);
        polled.pending();
        polled
    }

    /// Polls once.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls once with a waker of the caller's.
    pub fn poll_with(&mut self, waker: &Waker) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }

    /// Polls once.
    ///
    /// # Panics
    /// If it is ready.
    #[track_caller]
    pub fn pending(&mut self) {
        assert!(self.poll().is_pending(), "the future is ready, it should wait");
    }

    /// Polls as an executor does: now, and then only after the waker was woken. So a wake that
    /// never comes is a failure, even if the result is there.
    ///
    /// # Panics
    /// If it is not ready within the deadline.
    #[track_caller]
    pub fn ready(&mut self) -> F::Output {
        loop {
            let seen = self.wakes();
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
            until("the waiting future is woken", || self.wakes() > seen);
        }
    }

    /// Waits until the waker has been woken, without polling.
    ///
    /// # Panics
    /// If it is not woken within the deadline.
    #[track_caller]
    pub fn woken(&self) {
        until("the waiting future is woken", || self.wakes() > 0);
    }

    /// How often it was woken.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

impl<T, F: Future<Output = Result<T, Error>>> Polled<F> {
    /// Waits until the request is granted.
    ///
    /// # Panics
    /// If it fails or is not granted in time.
    #[track_caller]
    pub fn granted(&mut self) -> T {
        self.ready().unwrap_or_else(|error| panic!("not granted: {error}"))
    }
}
