//! [`Request`]: a builder that is awaited, blocked on, or tried; and its future.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    api::{
        guard::{Guard, Terms},
        identity::Identity,
        owner::Owner,
        queued::{Begun, Queued},
        resource::Remembered,
        waiting::{self, Waiting},
    },
    engine::{self, Ask, Begin, Engine, Grant, Ticket, Wait},
    words::{
        deadlock::DeadlockPolicy,
        error::Error,
        mode::Mode,
        name::Name,
        settings::{Fairness, Settings},
    },
};

/// A request for one resource. Nothing happens until it is awaited, `.blocking()` or `.try_now()`.
///
/// # Waiting
/// `.await` suspends the task and needs no particular runtime; `.blocking()` parks the thread (do
/// not use it on a runtime's worker for locks that may be busy); `.try_now()` never waits.
///
/// # Fairness
/// First come, first served; consecutive readers are granted together. A request is granted at
/// once only if it conflicts with no holder and no earlier waiter, so neither readers nor writers
/// starve. A priority of `p` counts like having arrived `p` seconds earlier, so it overtakes only requests
/// of the last `p` seconds and starves nobody.
///
/// # Cancel safety
/// Dropping the future leaves the queue at once and loses its place. If the request was granted at the same
/// instant, the grant is handed on to the next waiter. Nothing leaks.
///
/// # Errors
/// `TimedOut` (naming the holders and the place in the queue), `WouldBlock` (only `try_now`),
/// `Deadlock`, `InvalidName`, `InvalidInput`, `Full`, `Corrupt`, `Unreachable`.
///
/// ```
/// # use std::time::Duration;
/// # use concurrent_locks::LockManager;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// let locks = LockManager::local();
/// let guard = locks.write("episodic_db").timeout(Duration::from_secs(5)).note("compaction").await?;
/// assert!(locks.read("episodic_db").try_now().is_err());
/// drop(guard);
/// let _shared = locks.read("episodic_db").blocking()?;
/// # Ok(()) }
/// ```
#[must_use = "a request does nothing until it is awaited, `.blocking()` or `.try_now()`"]
#[derive(Clone)]
pub struct Request<'a> {
    // Plain data without a destructor, so that it is built where it is needed and never moved through memory.
    engine: &'static dyn Engine,
    /// Not checked yet, unless it comes from a handle.
    name: &'a str,
    remembered: Option<&'a Remembered>,
    note: &'a str,
    identity: Option<&'a Arc<Identity>>,
    timeout: Option<Duration>,
    upgrade_timeout: Option<Duration>,
    mode: Mode,
    priority: i8,
    deadlocks: DeadlockPolicy,
    fairness: Fairness,
    pass_over_after: Duration,
    max_hold: Option<Duration>,
}

impl<'a> Request<'a> {
    #[inline]
    pub(crate) fn new(
        engine: &'static dyn Engine,
        settings: &Settings,
        name: &'a str,
        remembered: Option<&'a Remembered>,
        mode: Mode,
    ) -> Request<'a> {
        let timeout = match mode {
            Mode::Read => settings.read_timeout,
            Mode::Write => settings.write_timeout,
        };
        Request {
            engine,
            name,
            remembered,
            note: "",
            identity: None,
            timeout,
            upgrade_timeout: settings.write_timeout,
            mode,
            priority: 0,
            deadlocks: settings.deadlocks,
            fairness: settings.fairness,
            pass_over_after: settings.pass_over_after,
            max_hold: None,
        }
    }

    /// How long to wait; `None` for ever. Default: 10 s to read, 30 s to write.
    #[inline]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Request<'a> {
        self.timeout = timeout.into();
        self
    }

    /// The priority: `p` counts like having arrived `p` seconds earlier. Default 0.
    pub fn priority(mut self, priority: i8) -> Request<'a> {
        self.priority = priority;
        self
    }

    /// The purpose, shown in status and errors; at most 80 bytes are kept.
    pub fn note(mut self, note: &'a str) -> Request<'a> {
        self.note = note;
        self
    }

    /// The requester. Default: an owner of its own.
    pub fn owner(mut self, owner: &'a Owner) -> Request<'a> {
        self.identity = Some(owner.identity());
        self
    }

    /// The longest time it may be held: then the lock goes to the next waiter and this one is
    /// [`Lost`](crate::Guard::lost), whether it is renewed or not. It ties the lock to progress: a holder
    /// that hangs in a living process does not block others for ever. The time starts at the grant; an
    /// upgrade's write grant has its own. Default: no limit.
    ///
    /// Only for engines that grant on leases ([`Capabilities::lease`](crate::Capabilities)): others refuse
    /// the request with `Unsupported`. Zero is `InvalidInput`.
    pub fn max_hold(mut self, max_hold: impl Into<Option<Duration>>) -> Request<'a> {
        self.max_hold = max_hold.into();
        self
    }

    pub(crate) fn identity(mut self, identity: Option<&'a Arc<Identity>>) -> Request<'a> {
        self.identity = identity;
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn blocking(self) -> Result<Guard, Error> {
        let mut grant = Grant::NONE;
        match self.take(self.wait(), &mut grant, Engine::begin)? {
            None => self.guard(grant),
            Some(ticket) => self.guard(self.park(ticket)?),
        }
    }

    /// Acquires the lock if this request can be granted now; never waits, except for the one answer of a
    /// server if there is one. (In a task, await it with a timeout of zero instead.)
    ///
    /// # Errors
    /// `WouldBlock` if it is busy; else see [`Request`].
    #[inline]
    pub fn try_now(self) -> Result<Guard, Error> {
        let mut grant = Grant::NONE;
        match self.take(Wait::No, &mut grant, Engine::begin)? {
            None => self.guard(grant),
            Some(ticket) => Err(engine::queued_against_its_will(self.engine, &ticket)),
        }
    }

    /// Acquires the lock or joins the queue, without waiting for the lock: for callers that manage the wait
    /// themselves; [`Queued`] borrows nothing. If there is a server, waits for its answer, so that a free
    /// lock is `Granted`; [`Request::ask`] does not.
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn begin(self) -> Result<Begun, Error> {
        self.begun(Engine::begin)
    }

    /// Like [`Request::begin`], but never waits, not even for the answer of a server: for event loops.
    /// Until that answer arrives the request is `Queued`, even if the lock is free; a refusal by the server
    /// is then the error of [`Queued`].
    ///
    /// ```
    /// # use concurrent_locks::{Begun, LockManager};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
    /// # let locks = LockManager::connect("local:doc-ask").blocking()?;
    /// let guard = match locks.write("skills").ask()? {
    ///     Begun::Granted(guard) => guard,
    ///     Begun::Queued(queued) => queued.await?,
    /// };
    /// # drop(guard);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn ask(self) -> Result<Begun, Error> {
        self.begun(Engine::ask)
    }

    #[inline]
    fn begun(&self, begin: Begin) -> Result<Begun, Error> {
        let mut grant = Grant::NONE;
        match self.take(self.wait(), &mut grant, begin)? {
            None => self.guard(grant).map(Begun::Granted),
            Some(ticket) => Ok(Begun::Queued(self.queued(ticket))),
        }
    }

    #[cold]
    fn queued(&self, ticket: Ticket) -> Queued {
        Queued::new(self.terms(), ticket, self.identity)
    }

    #[inline]
    fn wait(&self) -> Wait {
        self.timeout.map_or(Wait::Forever, Wait::For)
    }

    /// Submits the request: `None` if `grant` was made, else the ticket of the queued request.
    fn take(
        &self,
        wait: Wait,
        grant: &mut Grant,
        begin: impl FnOnce(&(dyn Engine + 'static), &Ask<'_>, &mut Grant) -> Result<Option<Ticket>, Error>,
    ) -> Result<Option<Ticket>, Error> {
        if let Some(max_hold) = self.max_hold {
            engine::check_max_hold(self.engine, max_hold)?;
        }
        let (owner, ancestors, label, may_hold): (_, &[u64], _, _) = match self.identity {
            Some(identity) => (identity.id, &identity.ancestors, identity.label.as_str(), identity.may_hold()),
            None => (0, &[], "", false),
        };
        let ask = Ask {
            name: self.checked_name()?,
            hint: self.remembered.map(|remembered| &remembered.place),
            mode: self.mode,
            owner,
            ancestors,
            label,
            may_hold,
            priority: self.priority,
            note: self.note,
            wait,
            policy: self.deadlocks,
            fairness: self.fairness,
            pass_over_after: self.pass_over_after,
            max_hold: self.max_hold,
        };
        begin(self.engine, &ask, grant)
    }

    #[inline]
    fn checked_name(&self) -> Result<Name<'a>, Error> {
        match self.remembered {
            Some(remembered) => Ok(Name::known(self.name, remembered.hash)),
            None => Name::new(self.name),
        }
    }

    #[cold]
    fn park(&self, ticket: Ticket) -> Result<Grant, Error> {
        Waiting::queued(self.engine, ticket, self.identity).park()
    }

    /// The guard of a grant; its owner is updated.
    #[inline]
    fn guard(&self, grant: Grant) -> Result<Guard, Error> {
        Guard::new(self.terms(), grant, self.identity)
    }

    #[inline]
    fn terms(&self) -> Terms {
        Terms {
            engine: self.engine,
            upgrade_timeout: self.upgrade_timeout,
            priority: self.priority,
            policy: self.deadlocks,
            fairness: self.fairness,
            pass_over_after: self.pass_over_after,
            max_hold: self.max_hold,
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("timeout", &self.timeout)
            .field("priority", &self.priority)
            .field("note", &self.note)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Guard, Error>;
    type IntoFuture = Acquire<'a>;

    #[inline]
    fn into_future(self) -> Acquire<'a> {
        Acquire { request: self, waiting: None, begun: false }
    }
}

/// The future of a [`Request`]. Dropping it leaves the queue.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Acquire<'a> {
    request: Request<'a>,
    /// While it is queued.
    waiting: Option<Waiting>,
    begun: bool,
}

impl Future for Acquire<'_> {
    type Output = Result<Guard, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.begun, true) {
            return self.poll_again(context);
        }
        let mut grant = Grant::NONE;
        match self.request.take(self.request.wait(), &mut grant, Engine::ask)? {
            None => Poll::Ready(self.request.guard(grant)),
            Some(ticket) => {
                self.waiting = Some(Waiting::queued(self.request.engine, ticket, self.request.identity));
                self.poll_again(context)
            }
        }
    }
}

impl Acquire<'_> {
    /// Polls a queued request.
    #[cold]
    fn poll_again(&mut self, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Err(waiting::spent())) };
        let result = std::task::ready!(waiting.poll(context));
        self.waiting = None;
        Poll::Ready(result.and_then(|grant| self.request.guard(grant)))
    }
}
