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
        guard::{Guard, Terms},
        identity::Identity,
        waiting::Waiting,
    },
    engine::Ticket,
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
    terms: Terms,
    waiting: Waiting,
    identity: Option<Arc<Identity>>,
}

impl Queued {
    pub(crate) fn new(terms: Terms, ticket: Ticket, identity: Option<&Arc<Identity>>) -> Queued {
        Queued { terms, waiting: Waiting::queued(terms.engine, ticket, identity), identity: identity.map(Arc::clone) }
    }

    /// Waits by parking this thread while `go_on` returns `true`; `None` if it returned `false`: then the
    /// request has left the queue. It is called before every sleep; a sleep ends after at most a second,
    /// and when the thread has handled a signal (except with handlers that restart system calls).
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
