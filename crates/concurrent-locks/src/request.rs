//! Requests: builders that are awaited, blocked on, or tried; and their futures.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    deadlock::DeadlockPolicy,
    engine::{Ask, Engine, Grant, Progress, Ticket, Wait},
    error::{Error, ErrorKind},
    guard::{Asked, Guard, GuardAll},
    manager::{Fairness, Settings},
    mode::Mode,
    name::Name,
    owner::{self, Identity, Owner},
};

/// The longest note in bytes.
pub const MAX_NOTE_BYTES: usize = 80;

/// A request for one resource. Nothing happens until it is awaited, `.blocking()` or `.try_now()`.
///
/// # What waits
/// `.await` suspends the task and needs no particular runtime; `.blocking()` parks the thread (do
/// not use it on a runtime's worker for locks that may be busy); `.try_now()` never waits.
///
/// # Fairness
/// First come, first served; consecutive readers are granted together. A request is granted at
/// once only if it conflicts with no holder and no earlier waiter, so neither readers nor writers
/// starve. A priority of `p` counts like having come `p` seconds earlier, so it overtakes only
/// what came in the last `p` seconds and starves nobody.
///
/// # Cancel safety
/// Dropping the future leaves the queue at once and loses the place in it. If the grant came in
/// the same instant, it is handed on to the next waiter. Nothing leaks.
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
    engine: &'static dyn Engine,
    name: Result<Name<'a>, Error>,
    hint: Option<&'a std::sync::atomic::AtomicU64>,
    mode: Mode,
    priority: i8,
    policy: DeadlockPolicy,
    fairness: Fairness,
    timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    note: &'a str,
    identity: Option<&'a Arc<Identity>>,
}

impl<'a> Request<'a> {
    #[inline]
    pub(crate) fn new(
        engine: &'static dyn Engine,
        settings: &Settings,
        name: Result<Name<'a>, Error>,
        hint: Option<&'a std::sync::atomic::AtomicU64>,
        mode: Mode,
    ) -> Request<'a> {
        let timeout = match mode {
            Mode::Read => settings.read_timeout,
            Mode::Write => settings.write_timeout,
        };
        Request {
            engine,
            name,
            hint,
            mode,
            priority: 0,
            policy: settings.deadlocks,
            fairness: settings.fairness,
            timeout,
            write_timeout: settings.write_timeout,
            note: "",
            identity: None,
        }
    }

    /// How long to wait; `None` for ever. Default: 10 s to read, 30 s to write.
    #[inline]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Request<'a> {
        self.timeout = timeout.into();
        self
    }

    /// How urgent it is: `p` counts like having come `p` seconds earlier. Default 0.
    pub fn priority(mut self, priority: i8) -> Request<'a> {
        self.priority = priority;
        self
    }

    /// What it is for, shown in status and errors; at most 80 bytes are kept.
    pub fn note(mut self, note: &'a str) -> Request<'a> {
        self.note = note;
        self
    }

    /// Who asks. Default: an owner of its own.
    pub fn owner(mut self, owner: &'a Owner) -> Request<'a> {
        self.identity = Some(owner.identity());
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn blocking(self) -> Result<Guard, Error> {
        match self.begin(self.wait())? {
            (asked, Waiting::Granted(grant)) => self.guard(asked, grant),
            (asked, waiting) => {
                let grant = waiting.park()?;
                self.guard(asked, grant)
            }
        }
    }

    /// Takes the lock if it is free for this request now; never waits.
    ///
    /// # Errors
    /// `WouldBlock` if it is busy; else see [`Request`].
    #[inline]
    pub fn try_now(self) -> Result<Guard, Error> {
        let (asked, waiting) = self.begin(Wait::No)?;
        let grant = waiting.granted()?;
        self.guard(asked, grant)
    }

    fn wait(&self) -> Wait {
        self.timeout.map_or(Wait::Forever, Wait::For)
    }

    #[inline]
    fn begin(&self, wait: Wait) -> Result<(Asked, Waiting), Error> {
        let name = match &self.name {
            Ok(name) => *name,
            Err(error) => return Err(error.clone()),
        };
        let (owner, label, may_hold) = match self.identity {
            Some(identity) => (identity.id, identity.label.as_str(), identity.may_hold()),
            None => (owner::anonymous(), "", false),
        };
        let ask = Ask {
            name,
            hint: self.hint,
            mode: self.mode,
            owner,
            label,
            may_hold,
            priority: self.priority,
            note: self.note,
            wait,
            policy: self.policy,
            fairness: self.fairness,
        };
        let waiting = Waiting::begin(self.engine, &ask)?.for_owner(self.identity);
        let asked = Asked {
            owner,
            priority: self.priority,
            write_timeout: self.write_timeout,
            policy: self.policy,
            fairness: self.fairness,
        };
        Ok((asked, waiting))
    }

    /// Makes the guard of a grant and records it with the owner.
    #[inline]
    fn guard(&self, asked: Asked, grant: Grant) -> Result<Guard, Error> {
        let Some(identity) = self.identity else { return Ok(Guard::new(self.engine, grant, asked, None)) };
        identity.begun();
        let guard = Guard::new(self.engine, grant, asked, Some(Arc::clone(identity)));
        if let Ok(name) = &self.name {
            for earlier in identity.took(grant.handle, name.text()) {
                self.engine.record_order(Name::new(&earlier)?, *name, &identity.label)?;
            }
        }
        Ok(guard)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("name", &self.name.as_ref().map(Name::text))
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
        Acquire { request: self, state: None }
    }
}

/// The future of a [`Request`]. Dropping it leaves the queue.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Acquire<'a> {
    request: Request<'a>,
    state: Option<(Asked, Waiting)>,
}

impl Future for Acquire<'_> {
    type Output = Result<Guard, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.state.is_none() {
            this.state = Some(this.request.begin(this.request.wait())?);
        }
        let Some((asked, waiting)) = &mut this.state else { unreachable!("begun above") };
        let asked = *asked;
        match waiting.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => Poll::Ready(result.and_then(|grant| this.request.guard(asked, grant))),
        }
    }
}

/// A begun request of any kind: granted, queued, or over. Dropping it while queued leaves the queue.
pub(crate) enum Waiting {
    Granted(Grant),
    Queued(&'static dyn Engine, Ticket, Option<Arc<Identity>>),
    Over,
}

impl Waiting {
    #[inline]
    pub(crate) fn begin(engine: &'static dyn Engine, ask: &Ask<'_>) -> Result<Waiting, Error> {
        Ok(match engine.begin(ask)? {
            Progress::Granted(grant) => Waiting::Granted(grant),
            Progress::Queued(ticket) => Waiting::Queued(engine, ticket, None),
        })
    }

    /// Counts the queued request with its owner until it is over, so that the owner's other
    /// requests know that they may close a cycle.
    #[inline]
    fn for_owner(mut self, identity: Option<&Arc<Identity>>) -> Waiting {
        if let (Waiting::Queued(_, _, waiter), Some(identity)) = (&mut self, identity) {
            identity.begun();
            *waiter = Some(Arc::clone(identity));
        }
        self
    }

    /// The grant of a request that does not wait.
    #[inline]
    pub(crate) fn granted(self) -> Result<Grant, Error> {
        match self {
            Waiting::Granted(grant) => Ok(grant),
            _ => Err(Error::new(ErrorKind::Unreachable, "a request that does not wait was queued")),
        }
    }

    pub(crate) fn park(mut self) -> Result<Grant, Error> {
        match &self {
            Waiting::Granted(grant) => Ok(*grant),
            Waiting::Queued(engine, ticket, _) => {
                let result = engine.park(ticket);
                self.finish();
                result
            }
            Waiting::Over => Err(Self::spent()),
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        match self {
            Waiting::Granted(grant) => {
                let grant = *grant;
                *self = Waiting::Over;
                Poll::Ready(Ok(grant))
            }
            Waiting::Queued(engine, ticket, _) => {
                let result = engine.poll(ticket, context);
                if result.is_ready() {
                    self.finish();
                }
                result
            }
            Waiting::Over => Poll::Ready(Err(Self::spent())),
        }
    }

    /// Ends the wait without leaving the queue: the engine has spent the ticket.
    fn finish(&mut self) {
        if let Waiting::Queued(_, _, identity) = self
            && let Some(identity) = identity.take()
        {
            identity.ended();
        }
        // Not dropped: `drop` would leave the queue with a ticket that is spent.
        std::mem::forget(std::mem::replace(self, Waiting::Over));
    }

    fn spent() -> Error {
        Error::new(ErrorKind::InvalidInput, "the future of a lock request was polled after it was ready")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Waiting::Queued(engine, ticket, identity) = self {
            engine.abandon(ticket);
            if let Some(identity) = identity {
                identity.ended();
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiting::Granted(_) => "Granted",
            Waiting::Queued(..) => "Queued",
            Waiting::Over => "Over",
        })
    }
}

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

/// A request to turn a read guard into a write guard. Made by [`Guard::upgrade`].
#[must_use = "an upgrade does nothing until it is awaited, `.blocking()` or `.try_now()`"]
#[derive(Debug)]
pub struct Upgrade<'g> {
    guard: &'g mut Guard,
    timeout: Option<Duration>,
}

impl<'g> Upgrade<'g> {
    pub(crate) fn new(guard: &'g mut Guard) -> Upgrade<'g> {
        let timeout = guard.write_timeout();
        Upgrade { guard, timeout }
    }

    /// How long to wait for the other readers to leave; `None` for ever. Default 30 s.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Upgrade<'g> {
        self.timeout = timeout.into();
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// See [`Request`]; the guard is still a read guard.
    pub fn blocking(self) -> Result<(), Error> {
        if self.guard.mode() == Mode::Write {
            return Ok(());
        }
        let grant = self.guard.begin_upgrade(self.wait())?.park()?;
        self.guard.upgraded(grant)
    }

    /// Upgrades if there is no other reader now; never waits.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else reads; see [`Request`]. The guard is still a read guard.
    pub fn try_now(self) -> Result<(), Error> {
        if self.guard.mode() == Mode::Write {
            return Ok(());
        }
        let grant = self.guard.begin_upgrade(Wait::No)?.granted()?;
        self.guard.upgraded(grant)
    }

    fn wait(&self) -> Wait {
        self.timeout.map_or(Wait::Forever, Wait::For)
    }
}

impl<'g> IntoFuture for Upgrade<'g> {
    type Output = Result<(), Error>;
    type IntoFuture = Upgrading<'g>;

    fn into_future(self) -> Upgrading<'g> {
        Upgrading { upgrade: self, waiting: None }
    }
}

/// The future of an [`Upgrade`]. Dropping it leaves the queue; the guard stays a read guard.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Upgrading<'g> {
    upgrade: Upgrade<'g>,
    waiting: Option<Waiting>,
}

impl Future for Upgrading<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.upgrade.guard.mode() == Mode::Write {
            return Poll::Ready(Ok(()));
        }
        if this.waiting.is_none() {
            this.waiting = Some(this.upgrade.guard.begin_upgrade(this.upgrade.wait())?);
        }
        let Some(waiting) = &mut this.waiting else { unreachable!("begun above") };
        match waiting.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => Poll::Ready(result.and_then(|grant| this.upgrade.guard.upgraded(grant))),
        }
    }
}
