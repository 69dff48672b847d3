//! The seam between the API and where lock state lives.
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

/// What an engine can do. Asking for what it cannot is a loud [`ErrorKind::Unsupported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Other processes meet these locks.
    pub across_processes: bool,
    /// Requests of all processes are served in order.
    pub fair: bool,
    /// Priorities are honoured.
    pub priority: bool,
    /// A read grant can become a write grant without giving the lock up.
    pub upgrade: bool,
    /// A write grant can become a read grant without giving the lock up.
    pub downgrade: bool,
    /// Holders and waiters of other processes can be seen.
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
        let instead = "ask without `max_hold`, or use redis:// or postgres://";
        return Err(unsupported(engine.url(), "take a lock back after a time", instead));
    }
    if max_hold.is_zero() {
        return Err(Error::new(ErrorKind::InvalidInput, "a `max_hold` of zero would end before it began"));
    }
    Ok(())
}

/// The error of a request that does not wait and was queued all the same: only a damaged table does so.
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

/// Where lock state lives. Engines live as long as the process.
pub(crate) trait Engine: Send + Sync + UnwindSafe + RefUnwindSafe {
    fn url(&self) -> &str;

    /// Makes sure that this process is known to the engine, anew in a forked child. Called before a
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

    /// Blocks the calling thread until the queued request is granted or refused, or `go_on` says no
    /// (`None`: the request left the queue). It is asked before every sleep; a sleep ends after a second
    /// at the latest, and when this thread handles a signal (unless the handler restarts calls). The
    /// ticket is spent.
    fn park(&self, ticket: &Ticket, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error>;

    /// Ends a queued request whose future was dropped. If it was granted in the same instant, the
    /// grant is handed on.
    fn abandon(&self, ticket: &Ticket);

    /// Gives a grant back and hands the resource to its successors.
    fn release(&self, grant: &Grant, ending: Ending, fairness: Fairness) -> Result<(), Error>;

    /// Turns a write grant into a read grant without a gap in which somebody else could write. The
    /// handle stays, and with it who is told of its loss.
    fn downgrade(&self, grant: &Grant) -> Result<Grant, Error>;

    fn tenure(&self, grant: &Grant) -> Tenure;

    /// The name of the resource a grant is for.
    fn name_of(&self, grant: &Grant) -> Result<String, Error>;

    /// Whether the grant still stands: asks the server where there is one, and renews the lease. Ends
    /// at the lease's deadline at the latest, with `Lost`.
    fn verify(&self, grant: &Grant) -> Standing {
        look_at(self.name_of(grant))
    }

    /// As `verify`, for futures: does not wait. `tell` is called once, in this thread or another,
    /// without a lock of the engine held; dropping it tells `Unknown`.
    fn verify_later(&self, grant: &Grant, tell: Box<dyn FnOnce(Standing) + Send>) {
        tell(self.verify(grant));
    }

    /// The grant's lease; `None` where grants are held until they are given back.
    fn lease(&self, _grant: &Grant) -> Option<Lease> {
        None
    }

    /// Has `tell` called once, with an error of kind `Lost`, when the grant is lost: at the lease's
    /// deadline, even if a renewal hangs, or as soon as the server says so; at once if it is lost
    /// already. Not after the grant was given back. Called without a lock of the engine held, in a
    /// thread that others need: it does not block.
    ///
    /// Where grants have no lease, only losses that the engine notices by itself are told.
    fn on_lost(&self, _grant: &Grant, _tell: Box<dyn FnOnce(Error) + Send>) {}

    /// Records that an owner took `later` while it held `earlier` (lock-order inversions).
    fn record_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Result<(), Error>;

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error>;

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error>;

    fn reset_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error>;

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error>;

    /// Events from `cursor` on, waiting at most `wait` for the first one; returns the next cursor.
    /// `None` starts with what happens from now on.
    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error>;

    /// Takes the lock from the holder with this token.
    fn revoke(&self, name: Name<'_>, token: u64) -> Result<Holder, Error>;

    fn health(&self) -> Result<Health, Error>;

    /// This process is about to end, in good order: it says so to whoever would have to find out. On this
    /// machine, what it still holds stays held until it is really gone; a server, which would not know
    /// when that is, gets everything back now.
    fn detach(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the last look (status, statistics, deadlocks, events, health) could not see, or may have seen out
    /// of date, and why.
    fn unseen(&self) -> Vec<String> {
        Vec::new()
    }

    /// That there is nothing to look at, because nobody has used these locks yet, and where.
    fn absence(&self) -> Option<String> {
        None
    }

    /// Has these grants outlive this process until every process has ended that inherits the
    /// descriptors of what is returned; where locks belong to processes as a whole, all of this
    /// process's. `None` where no descriptor keeps a lock.
    #[cfg(unix)]
    fn hold_for_tree(&self, _grants: &[Grant]) -> Result<Option<Box<dyn Bequest>>, Error> {
        Ok(None)
    }
}

/// Grants that outlive this process for those that inherit its descriptors.
#[cfg(unix)]
pub(crate) trait Bequest: Send + Sync + std::fmt::Debug {
    /// Closed on exec, until whoever passes them on says otherwise.
    fn descriptors(&self) -> Vec<std::os::fd::BorrowedFd<'_>>;

    /// The grants are this process's alone again: who has inherited a descriptor keeps nothing with it.
    fn revoke(self: Box<Self>) -> Result<(), Error>;

    /// Closes this process's descriptors; whether another process may have one, and with it the grants, also
    /// after that time.
    fn leave(self: Box<Self>, patience: Duration) -> Result<bool, Error>;
}

/// How a grant stands whose name was looked for.
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
