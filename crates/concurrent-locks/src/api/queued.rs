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
        guard::{Guard, Terms},
        identity::Identity,
        waiting::Waiting,
    },
    engine::Ticket,
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
/// let locks = LockManager::connect("local:doc-queued").blocking()?;
/// let first = locks.write("skills").blocking()?;
/// let Begun::Queued(second) = locks.write("skills").begin()? else { panic!("it is held") };
/// assert_eq!(locks.status("skills").blocking()?.unwrap().waiters.len(), 1);
/// drop(first);
/// let second = second.blocking_while(|| true)?.expect("nobody said no");
/// assert!(locks.read("skills").try_now().is_err());
/// # drop(second);
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[must_use = "dropping it leaves the queue"]
pub struct Queued {
    terms: Terms,
    waiting: Waiting,
    identity: Option<Arc<Identity>>,
}

impl Queued {
    pub(crate) fn new(terms: Terms, ticket: Ticket, identity: Option<&Arc<Identity>>) -> Queued {
        Queued { terms, waiting: Waiting::queued(terms.engine, ticket, identity), identity: identity.map(Arc::clone) }
    }

    /// Waits by parking this thread as long as `go_on` says yes; `None` if it said no: then the
    /// request has left the queue. It is asked before every sleep, and a sleep ends after a second at the
    /// latest, and when the thread has handled a signal (but for handlers that restart system calls).
    ///
    /// # Errors
    /// See [`Request`](crate::Request).
    pub fn blocking_while(self, mut go_on: impl FnMut() -> bool) -> Result<Option<Guard>, Error> {
        let Queued { terms, waiting, identity } = self;
        let grant = waiting.park_while(&mut go_on)?;
        grant.map(|grant| Guard::new(terms, grant, identity.as_ref())).transpose()
    }
}

impl Future for Queued {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let grant = ready!(self.waiting.poll(context))?;
        Poll::Ready(Guard::new(self.terms, grant, self.identity.as_ref()))
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
