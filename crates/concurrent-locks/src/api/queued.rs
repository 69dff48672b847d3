//! [`Queued`]: a request in the queue that borrows nothing, so that others can keep it.

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

/// What became of a request that was begun: [`Request::begin`](crate::Request::begin) or
/// [`Request::ask`](crate::Request::ask).
#[derive(Debug)]
#[must_use = "dropping it gives the lock back or leaves the queue"]
pub enum Begun {
    /// The lock was free.
    Granted(Guard),
    /// The lock is busy; the request has its place in the queue. Or, of `ask` only, the server's answer
    /// is still to come.
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

    /// Waits by parking this thread as long as `go_on` says yes; `None` if it said no: then the
    /// request has left the queue. It is asked before every sleep, and a sleep ends after a second at the
    /// latest, and when the thread has handled a signal (but for handlers that restart system calls).
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
