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
    engine::{self, Ask, Engine, Ticket, Wait},
    error::Error,
    guard::Guard,
    manager::Settings,
    mode::Mode,
    name::Name,
    owner::{self, Identity, Owner},
    queued::{Begun, Queued},
    waiting::{self, Waiting},
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
    timeout: Option<Duration>,
    settings: Settings,
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
        Request { engine, name, hint, mode, priority: 0, timeout, settings: *settings, note: "", identity: None }
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
        let mut guard = self.empty_guard();
        if let Some(ticket) = self.ask(self.wait(), &mut guard)? {
            *guard.place() = Waiting::queued(self.engine, ticket, self.identity).park()?;
        }
        guard.hold(self.identity)?;
        Ok(guard)
    }

    /// Takes the lock if it is free for this request now; never waits.
    ///
    /// # Errors
    /// `WouldBlock` if it is busy; else see [`Request`].
    #[inline]
    pub fn try_now(self) -> Result<Guard, Error> {
        let mut guard = self.empty_guard();
        if let Some(ticket) = self.ask(Wait::No, &mut guard)? {
            return Err(engine::queued_against_its_will(self.engine, &ticket));
        }
        guard.hold(self.identity)?;
        Ok(guard)
    }

    /// Takes the lock or joins the queue, and never waits: for callers that keep the wait
    /// themselves, where [`Queued`] borrows nothing.
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn begin(self) -> Result<Begun, Error> {
        let mut guard = self.empty_guard();
        match self.ask(self.wait(), &mut guard)? {
            None => guard.hold(self.identity).map(|()| Begun::Granted(guard)),
            Some(ticket) => Ok(Begun::Queued(Queued::new(guard, self.engine, ticket, self.identity))),
        }
    }

    #[inline]
    fn wait(&self) -> Wait {
        self.timeout.map_or(Wait::Forever, Wait::For)
    }

    #[inline]
    fn empty_guard(&self) -> Guard {
        Guard::empty(self.engine, self.priority, &self.settings)
    }

    #[inline]
    fn ask(&self, wait: Wait, guard: &mut Guard) -> Result<Option<Ticket>, Error> {
        let name = match &self.name {
            Ok(name) => *name,
            Err(error) => return Err(error.clone()),
        };
        let (owner, label, may_hold) = match self.identity {
            Some(identity) => (identity.id, identity.label.as_str(), identity.may_hold()),
            None => {
                self.engine.enter()?;
                (owner::anonymous(), "", false)
            }
        };
        guard.ask_as(owner);
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
            policy: self.settings.deadlocks,
            fairness: self.settings.fairness,
        };
        self.engine.begin(&ask, guard.place())
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
        Acquire { request: self, queued: None, over: false }
    }
}

/// The future of a [`Request`]. Dropping it leaves the queue.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Acquire<'a> {
    request: Request<'a>,
    queued: Option<Queued>,
    over: bool,
}

impl Future for Acquire<'_> {
    type Output = Result<Guard, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(queued) = &mut this.queued {
            return Pin::new(queued).poll(context);
        }
        if std::mem::replace(&mut this.over, true) {
            return Poll::Ready(Err(waiting::spent()));
        }
        let request = &this.request;
        let mut guard = request.empty_guard();
        match request.ask(request.wait(), &mut guard)? {
            None => Poll::Ready(guard.hold(request.identity).map(|()| guard)),
            Some(ticket) => {
                this.queued = Some(Queued::new(guard, request.engine, ticket, request.identity));
                self.poll(context)
            }
        }
    }
}
