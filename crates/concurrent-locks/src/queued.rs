//! [`Queued`]: a request in the queue that borrows nothing, so that others can keep it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    engine::{Engine, Grant, Ticket},
    error::Error,
    guard::Guard,
    owner::Identity,
    waiting::{self, Waiting},
};

/// What became of a request that was begun: [`Request::begin`](crate::Request::begin).
#[derive(Debug)]
#[must_use = "dropping it gives the lock back or leaves the queue"]
pub enum Begun {
    /// The lock was free.
    Granted(Guard),
    /// The lock is busy; the request has its place in the queue.
    Queued(Queued),
}

/// A request that waits in the queue: a future of the guard, or a wait for a thread.
///
/// # Cancel safety
/// Dropping it leaves the queue at once. If the grant came in the same instant, it is handed on to
/// the next waiter.
///
/// ```
/// # use concurrent_locks::{Begun, LockManager};
/// let locks = LockManager::connect("local:doc-queued")?;
/// let first = locks.write("skills").blocking()?;
/// let Begun::Queued(second) = locks.write("skills").begin()? else { panic!("it is held") };
/// assert_eq!(locks.status("skills")?.unwrap().waiters.len(), 1);
/// drop(first);
/// let second = second.blocking_while(|| true)?.expect("nobody said no");
/// assert!(locks.read("skills").try_now().is_err());
/// # drop(second);
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[must_use = "dropping it leaves the queue"]
#[derive(Debug)]
pub struct Queued {
    /// The guard to be, until it is.
    guard: Option<Guard>,
    waiting: Waiting,
    identity: Option<Arc<Identity>>,
}

impl Queued {
    pub(crate) fn new(
        guard: Guard,
        engine: &'static dyn Engine,
        ticket: Ticket,
        identity: Option<&Arc<Identity>>,
    ) -> Queued {
        Queued {
            guard: Some(guard),
            waiting: Waiting::queued(engine, ticket, identity),
            identity: identity.map(Arc::clone),
        }
    }

    /// Waits by parking this thread as long as `go_on` says yes; `None` if it said no: then the
    /// request has left the queue. It is asked before every sleep, and a sleep ends after 50 ms and
    /// at every signal the thread gets.
    ///
    /// # Errors
    /// See [`Request`](crate::Request).
    pub fn blocking_while(mut self, mut go_on: impl FnMut() -> bool) -> Result<Option<Guard>, Error> {
        let guard = self.guard.take();
        let grant = self.waiting.park_while(&mut go_on)?;
        grant.map(|grant| held(guard, grant, self.identity.as_ref())).transpose()
    }
}

/// The guard of a request that was granted.
fn held(guard: Option<Guard>, grant: Grant, identity: Option<&Arc<Identity>>) -> Result<Guard, Error> {
    let mut guard = guard.ok_or_else(waiting::spent)?;
    *guard.place() = grant;
    guard.hold(identity)?;
    Ok(guard)
}

impl Future for Queued {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let grant = ready!(this.waiting.poll(context))?;
        Poll::Ready(held(this.guard.take(), grant, this.identity.as_ref()))
    }
}
