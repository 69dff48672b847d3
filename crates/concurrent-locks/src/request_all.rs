//! [`RequestAll`]: several resources, all or nothing.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    engine::Engine,
    error::Error,
    guard::{Guard, GuardAll},
    manager::Settings,
    mode::Mode,
    name::Name,
    owner::Owner,
    request::{Acquire, Request},
};

/// A request for several resources, all or nothing. Made by
/// [`LockManager::lock_all`](crate::LockManager::lock_all).
///
/// The resources are taken one after the other in the order of their names, which is the same for
/// every caller, so two `lock_all` never wait for each other in a circle. A name given twice is
/// taken once in the stronger mode. The timeout is for all of them together; when it passes, or
/// the future is dropped, those already taken are given back.
#[must_use = "a request does nothing until it is awaited, `.blocking()` or `.try_now()`"]
#[derive(Clone, Debug)]
pub struct RequestAll<'a> {
    requests: Vec<Request<'a>>,
    timeout: Option<Duration>,
}

impl<'a> RequestAll<'a> {
    pub(crate) fn new(
        engine: &'static dyn Engine,
        settings: &Settings,
        wanted: impl IntoIterator<Item = (&'a str, Mode)>,
    ) -> RequestAll<'a> {
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        // The strongest mode of a name first, so that `dedup` keeps it.
        wanted.sort_by(|a, b| a.0.cmp(b.0).then(b.1.cmp(&a.1)));
        wanted.dedup_by_key(|(name, _)| *name);
        let requests =
            wanted.into_iter().map(|(name, mode)| Request::new(engine, settings, Name::new(name), None, mode));
        RequestAll { requests: requests.collect(), timeout: settings.write_timeout }
    }

    /// How long to wait for all of them; `None` for ever. Default 30 s.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> RequestAll<'a> {
        self.timeout = timeout.into();
        self
    }

    /// See [`Request::priority`].
    pub fn priority(self, priority: i8) -> RequestAll<'a> {
        self.each(|request| request.priority(priority))
    }

    /// See [`Request::note`].
    pub fn note(self, note: &'a str) -> RequestAll<'a> {
        self.each(|request| request.note(note))
    }

    /// See [`Request::owner`].
    pub fn owner(self, owner: &'a Owner) -> RequestAll<'a> {
        self.each(|request| request.owner(owner))
    }

    fn each(mut self, change: impl Fn(Request<'a>) -> Request<'a>) -> RequestAll<'a> {
        self.requests = self.requests.into_iter().map(change).collect();
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// Those of the first resource that could not be taken; see [`Request`].
    pub fn blocking(self) -> Result<GuardAll, Error> {
        let deadline = self.deadline();
        let take = |request: Request<'a>| request.timeout(remaining(deadline)).blocking();
        Ok(GuardAll::new(self.requests.into_iter().map(take).collect::<Result<_, _>>()?))
    }

    /// Takes all of them if all are free now; never waits.
    ///
    /// # Errors
    /// `WouldBlock` if one is busy; else see [`Request`].
    pub fn try_now(self) -> Result<GuardAll, Error> {
        Ok(GuardAll::new(self.requests.into_iter().map(Request::try_now).collect::<Result<_, _>>()?))
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

impl<'a> IntoFuture for RequestAll<'a> {
    type Output = Result<GuardAll, Error>;
    type IntoFuture = AcquireAll<'a>;

    fn into_future(self) -> AcquireAll<'a> {
        AcquireAll {
            deadline: self.deadline(),
            guards: Vec::with_capacity(self.requests.len()),
            requests: self.requests.into_iter(),
            current: None,
        }
    }
}

/// The future of a [`RequestAll`]. Dropping it leaves the queue and gives back what it has.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct AcquireAll<'a> {
    deadline: Option<Instant>,
    requests: std::vec::IntoIter<Request<'a>>,
    current: Option<Acquire<'a>>,
    guards: Vec<Guard>,
}

impl Future for AcquireAll<'_> {
    type Output = Result<GuardAll, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if this.current.is_none() {
                match this.requests.next() {
                    None => return Poll::Ready(Ok(GuardAll::new(std::mem::take(&mut this.guards)))),
                    Some(request) => {
                        this.current = Some(request.timeout(remaining(this.deadline)).into_future());
                    }
                }
            }
            let Some(current) = &mut this.current else { unreachable!("set above") };
            match Pin::new(current).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => {
                    this.current = None;
                    match result {
                        Ok(guard) => this.guards.push(guard),
                        Err(error) => {
                            this.guards.clear();
                            return Poll::Ready(Err(error));
                        }
                    }
                }
            }
        }
    }
}
