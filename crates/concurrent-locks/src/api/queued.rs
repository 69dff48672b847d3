//! [`Queued`]: a request in the queue that borrows nothing, so that it can be stored anywhere.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    api::{
        guard::Guard,
        identity::Identity,
        waiting::{self, Waiting},
    },
    engine::{self, Engine, Grant, Terms, Ticket},
    words::error::Error,
};

/// The result of [`Request::begin`](crate::Request::begin) or [`Request::ask`](crate::Request::ask).
#[derive(Debug)]
#[must_use = "dropping it releases the lock or leaves the queue"]
pub enum Begun {
    /// The lock was free.
    Granted(Guard),
    /// The lock is busy; the request has its place in the queue. Or, with `ask` only, the server's answer
    /// is still pending.
    Queued(Queued),
}

/// A request that waits in the queue: a future of the guard, or a wait for a thread.
///
/// # Cancel safety
/// Dropping it leaves the queue at once. If the request was granted at the same instant, the grant is
/// handed on to the next waiter.
///
/// ```
/// # use concurrent_locks::{Begun, LockManager};
/// let locks = LockManager::connect("local:doc-queued").blocking()?;
/// let first = locks.write("skills").blocking()?;
/// let Begun::Queued(second) = locks.write("skills").begin()? else { panic!("it is held") };
/// assert_eq!(locks.status("skills").blocking()?.unwrap().waiters.len(), 1);
/// drop(first);
/// let second = second.blocking_while(|| true)?.expect("it always returns true");
/// assert!(locks.read("skills").try_now().is_err());
/// # drop(second);
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[must_use = "dropping it leaves the queue"]
pub struct Queued {
    waiting: Waiting,
    terms: Terms,
}

impl Queued {
    #[cold]
    pub(crate) fn new(
        engine: &'static dyn Engine,
        terms: Terms,
        ticket: Ticket,
        identity: Option<Arc<Identity>>,
    ) -> Queued {
        Queued { waiting: Waiting::new(engine, ticket, identity), terms }
    }

    /// Waits by parking this thread while `go_on` returns `true`; `None` if it returned `false`: then the
    /// request has left the queue. It is called before every sleep; a sleep ends after at most a second,
    /// and when the thread has handled a signal (except with handlers that restart system calls).
    ///
    /// # Errors
    /// See [`Request`](crate::Request).
    pub fn blocking_while(mut self, mut go_on: impl FnMut() -> bool) -> Result<Option<Guard>, Error> {
        let grant = self.waiting.park_while(&mut go_on)?;
        grant.map(|grant| self.guard(grant)).transpose()
    }

    /// Waits by parking this thread until it ends in a grant or an error.
    #[cold]
    pub(crate) fn park(mut self) -> Result<Guard, Error> {
        let grant = self.waiting.park_while(&mut || true)?.ok_or_else(waiting::spent)?;
        self.guard(grant)
    }

    /// The error of a request that would not wait.
    #[cold]
    pub(crate) fn against_its_will(self) -> Error {
        engine::queued_against_its_will(self.waiting.engine())
    }

    fn guard(&self, grant: Grant) -> Result<Guard, Error> {
        Guard::new(self.waiting.engine(), self.terms, grant, self.waiting.identity())
    }
}

impl Future for Queued {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let grant = ready!(self.waiting.poll(context))?;
        Poll::Ready(self.guard(grant))
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
