//! [`Access`]: a request for the data of a lock, and its future.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    api::{
        guard::Guard,
        request::{Acquire, Request},
    },
    words::error::Error,
};

/// A request for data. Await it, or finish it with `.blocking()` or `.try_now()`; else as a
/// [`Request`](crate::Request), whose errors it has, and `Lost` if the data is with a holder whose lock was broken.
#[must_use = "a request does nothing until it is awaited, `.blocking()` or `.try_now()`"]
pub struct Access<'a, L, G> {
    pub(super) of: &'a L,
    pub(super) request: Request<'a>,
    pub(super) enter: fn(&'a L, Guard) -> Result<G, Error>,
}

impl<'a, L, G> Access<'a, L, G> {
    /// See [`Request::timeout`](crate::Request::timeout).
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Access<'a, L, G> {
        self.request = self.request.timeout(timeout);
        self
    }

    /// See [`Request::note`](crate::Request::note).
    pub fn note(mut self, note: &'a str) -> Access<'a, L, G> {
        self.request = self.request.note(note);
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// See [`Access`].
    pub fn blocking(self) -> Result<G, Error> {
        self.request.blocking().and_then(|guard| (self.enter)(self.of, guard))
    }

    /// Takes the lock if it is free now; never waits.
    ///
    /// # Errors
    /// `WouldBlock` if it is not; else see [`Access`].
    pub fn try_now(self) -> Result<G, Error> {
        self.request.try_now().and_then(|guard| (self.enter)(self.of, guard))
    }
}

impl<'a, L, G> IntoFuture for Access<'a, L, G> {
    type Output = Result<G, Error>;
    type IntoFuture = Accessing<'a, L, G>;

    fn into_future(self) -> Accessing<'a, L, G> {
        Accessing { of: self.of, acquire: self.request.into_future(), enter: self.enter }
    }
}

/// The future of an [`Access`]. Dropping it leaves the queue.
#[must_use = "futures do nothing unless awaited"]
pub struct Accessing<'a, L, G> {
    of: &'a L,
    acquire: Acquire<'a>,
    enter: fn(&'a L, Guard) -> Result<G, Error>,
}

impl<L, G> Future for Accessing<'_, L, G> {
    type Output = Result<G, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let guard = ready!(Pin::new(&mut self.acquire).poll(context))?;
        Poll::Ready((self.enter)(self.of, guard))
    }
}

impl<L, G> fmt::Debug for Access<'_, L, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<L, G> fmt::Debug for Accessing<'_, L, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accessing").field("acquire", &self.acquire).finish_non_exhaustive()
    }
}
