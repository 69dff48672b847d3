//! The seam between the API and the engines, which keep the lock state.
//!
//! A request begins with [`Engine::begin`], which does not wait for the lock: it is granted, refused or queued.
//! A queued request is finished by [`Engine::poll`] (a future) or [`Engine::park`] (a thread), or
//! ended by [`Engine::abandon`]. What is granted goes back with [`Engine::release`].
//!
//! Every promise of the API is made here and checked by the one conformance suite.

mod ask;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub(crate) mod file;
pub(crate) mod observing;
pub(crate) mod table;

use std::{
    num::NonZeroU64,
    panic::{RefUnwindSafe, UnwindSafe},
    task::{Context, Poll},
    time::Duration,
};

pub(crate) use self::ask::{Ask, Grant, Limit, Progress, Tenure, Terms, Ticket, Wait, Who, nanos};
use crate::words::{
    deadlock::DeadlockReport,
    error::{Error, ErrorKind},
    event::Event,
    lease::{Lease, Standing},
    name::Name,
    settings::Fairness,
    stats::StatisticsMap,
    status::{Health, Holder, StatusMap},
};

/// The capabilities of an engine. Anything else fails with [`ErrorKind::Unsupported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Other processes share these locks.
    pub across_processes: bool,
    /// Requests of all processes are granted in order.
    pub fair: bool,
    /// Priorities are honoured.
    pub priority: bool,
    /// A read grant can become a write grant without releasing the lock.
    pub upgrade: bool,
    /// A write grant can become a read grant without releasing the lock.
    pub downgrade: bool,
    /// Holders and waiters of other processes are visible.
    pub inspect: bool,
    /// A lock can be broken by an operator.
    pub revoke: bool,
    /// Cycles through other processes are found.
    pub deadlocks: bool,
    /// Locks are granted on a lease that is renewed, so they can end while they are held: by
    /// `max_hold`, or when their server is out of reach for too long.
    pub lease: bool,
}

/// Refuses a hold of limited length where it cannot be had.
#[cold]
pub(crate) fn check_max_hold(engine: &dyn Engine, max_hold: Duration) -> Result<(), Error> {
    if !engine.capabilities().lease {
        let instead = "request without `max_hold`, or use redis:// or postgres://";
        return Err(unsupported(engine.url(), "limit how long a lock is held", instead));
    }
    if max_hold.is_zero() {
        return Err(Error::new(ErrorKind::InvalidInput, "`max_hold` must be greater than zero"));
    }
    Ok(())
}

/// The error of a request that does not wait but was queued: only a damaged table does so.
#[cold]
pub(crate) fn queued_against_its_will(engine: &dyn Engine) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} queued a request that would not wait: it is damaged", engine.url()))
}

/// How a section ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Normal,
    /// By a panic; counted as an error.
    Panicked,
}

/// Keeps the lock state. Engines live as long as the process.
pub(crate) trait Engine: Send + Sync + UnwindSafe + RefUnwindSafe {
    fn url(&self) -> &str;

    /// Makes sure that this process is known to the engine, again in a forked child. Called before a
    /// labelled owner's id is drawn: a child must not draw its parent's.
    fn enter(&self) -> Result<(), Error>;

    fn capabilities(&self) -> Capabilities;

    /// Takes the lock, if that takes nothing but taking it: its handle and token. `None`: nothing was done, and
    /// [`Engine::begin`] does or says what is to be done or said.
    ///
    /// Two words, so that they come in registers: what is stored and loaded again in pieces of another size
    /// costs more than the lock.
    fn take_free(&self, _ask: &Ask<'_>) -> Option<(NonZeroU64, u64)> {
        None
    }

    /// Takes the lock, or refuses, or queues the request. Does not wait for the lock, but for the answer of a
    /// server if there is one and the request [`parks`](Ask::parks). Else a request whose answer is still to
    /// come is queued, also if the lock is free.
    fn begin(&self, ask: &Ask<'_>) -> Result<Progress, Error>;

    /// Looks whether the queued request is granted; else the context's waker will be woken.
    /// After `Ready` the ticket is spent.
    fn poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>>;

    /// Blocks the calling thread until the queued request is granted or refused, or `go_on` returns `false`
    /// (`None`: the request left the queue). It is called before every sleep; a sleep ends after at most a
    /// second, and when this thread handles a signal (unless the handler restarts calls). The ticket is
    /// consumed.
    fn park(&self, ticket: &Ticket, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error>;

    /// Ends a queued request whose future was dropped. If it was granted at the same instant, the grant is
    /// handed on.
    fn abandon(&self, ticket: &Ticket);

    /// Releases a grant and hands the resource to its successors.
    fn release(&self, grant: &Grant, ending: Ending, fairness: Fairness) -> Result<(), Error>;

    /// Downgrades a write grant to a read grant without a gap in which another could write. The handle
    /// stays, and so do the callbacks for its loss.
    fn downgrade(&self, grant: &Grant) -> Result<Grant, Error>;

    fn tenure(&self, grant: &Grant) -> Tenure;

    /// The name of the resource a grant is for.
    fn name_of(&self, grant: &Grant) -> Result<String, Error>;

    /// Whether the grant is still held: calls the server if there is one, which also renews the lease. Ends
    /// at the lease's deadline at the latest, with `Lost`.
    fn verify(&self, grant: &Grant) -> Standing {
        look_at(self.name_of(grant))
    }

    /// Like `verify`, for futures: does not wait. `tell` is called once, in this thread or another, without
    /// a lock of the engine held; dropping it reports `Unknown`.
    fn verify_later(&self, grant: &Grant, tell: Box<dyn FnOnce(Standing) + Send>) {
        tell(self.verify(grant));
    }

    /// The grant's lease; `None` where grants are held until they are released.
    fn lease(&self, _grant: &Grant) -> Option<Lease> {
        None
    }

    /// Has `tell` called once, with an error of kind `Lost`, when the grant is lost: at the lease's
    /// deadline, even if a renewal hangs, or as soon as the server reports it; at once if it is lost
    /// already. Not after the grant was released. Called without a lock of the engine held, in a thread
    /// that other code needs: it must not block.
    ///
    /// Where grants have no lease, only losses that the engine detects by itself are reported.
    fn on_lost(&self, _grant: &Grant, _tell: Box<dyn FnOnce(Error) + Send>) {}

    /// Records that an owner took `later` while it held `earlier` (lock-order inversions).
    fn record_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Result<(), Error>;

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error>;

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error>;

    fn reset_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error>;

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error>;

    /// Events from `cursor` on, waiting at most `wait` for the first one; returns the next cursor. `None`
    /// starts with future events.
    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error>;

    /// Takes the lock from the holder with this token.
    fn revoke(&self, name: Name<'_>, token: u64) -> Result<Holder, Error>;

    fn health(&self) -> Result<Health, Error>;

    /// This process is about to end in an orderly way, so that nobody has to detect it. On this machine,
    /// what it still holds stays held until it has really ended; a server, which would not notice that,
    /// gets all releases now.
    fn detach(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the last inspection (status, statistics, deadlocks, events, health) could not read, or may have
    /// read out of date, and why.
    fn unseen(&self) -> Vec<String> {
        Vec::new()
    }

    /// That there is nothing to inspect, because nobody has used these locks yet, and where.
    fn absence(&self) -> Option<String> {
        None
    }

    /// Makes these grants outlive this process until every process has ended that inherits the descriptors
    /// of the result; where locks belong to processes as a whole, all of this process's grants. `None`
    /// where no descriptor keeps a lock.
    #[cfg(unix)]
    fn hold_for_tree(&self, _grants: &[Grant]) -> Result<Option<Box<dyn Bequest>>, Error> {
        Ok(None)
    }
}

/// Grants that outlive this process for those that inherit its descriptors.
#[cfg(unix)]
pub(crate) trait Bequest: Send + Sync + std::fmt::Debug {
    /// Closed on exec, until the code that passes them on changes that.
    fn descriptors(&self) -> Vec<std::os::fd::BorrowedFd<'_>>;

    /// The grants belong to this process alone again: processes that inherited a descriptor keep nothing.
    fn revoke(self: Box<Self>) -> Result<(), Error>;

    /// Closes this process's descriptors; returns whether another process may have one, and with it the
    /// grants, even after that time.
    fn leave(self: Box<Self>, patience: Duration) -> Result<bool, Error>;
}

/// The state of a grant whose name was looked up.
pub(crate) fn look_at(name: Result<String, Error>) -> Standing {
    match name {
        Ok(_) => Standing::Held,
        Err(error) if error.kind() == ErrorKind::Lost => Standing::Lost,
        Err(_) => Standing::Unknown,
    }
}

pub(crate) fn unsupported(url: &str, what: &str, instead: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the engine {url} cannot {what}; {instead}"))
}
