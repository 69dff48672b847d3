//! [`Request`]: a builder that is awaited, blocked on, or tried; and its future.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    api::{
        guard::Guard,
        identity::Identity,
        owner::Owner,
        queued::{Begun, Queued},
        waiting,
    },
    engine::{self, Ask, Engine, Grant, Limit, Progress, Terms},
    words::{error::Error, mode::Mode, name::Name, settings::Settings},
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
    pub(super) engine: &'static dyn Engine,
    pub(super) identity: Option<&'a Arc<Identity>>,
    /// What the engine reads. The name is checked and hashed when it is asked for, unless a handle has done so.
    pub(super) ask: Ask<'a>,
}

impl<'a> Request<'a> {
    #[inline]
    pub(crate) fn new(engine: &'static dyn Engine, settings: &Settings, name: &'a str, mode: Mode) -> Request<'a> {
        let timeout = match mode {
            Mode::Read => settings.read_timeout,
            Mode::Write => settings.write_timeout,
        };
        let ask = Ask::new(Name::known(name, 0), mode, Terms::of(settings));
        Request { engine, identity: None, ask: Ask { timeout: Limit::of(timeout), ..ask } }
    }

    /// Of a handle, which has checked the name and remembers a place.
    #[inline]
    pub(crate) fn known(
        engine: &'static dyn Engine,
        settings: &Settings,
        name: Name<'a>,
        place: &'a AtomicU64,
        mode: Mode,
    ) -> Request<'a> {
        let mut request = Request::new(engine, settings, name.text(), mode);
        request.ask.name = name;
        request.ask.hint = Some(place);
        request
    }

    /// How long to wait; `None` for ever. Default: 10 s to read, 30 s to write.
    #[inline]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Request<'a> {
        self.ask.timeout = Limit::of(timeout.into());
        self
    }

    /// The priority: `p` counts like having arrived `p` seconds earlier. Default 0.
    pub fn priority(mut self, priority: i8) -> Request<'a> {
        self.ask.terms.priority = priority;
        self
    }

    /// The purpose, shown in status and errors; at most 80 bytes are kept.
    pub fn note(mut self, note: &'a str) -> Request<'a> {
        self.ask.note = note;
        self
    }

    /// The requester. Default: an owner of its own.
    #[inline]
    pub fn owner(self, owner: &'a Owner) -> Request<'a> {
        self.identity(Some(owner.identity()))
    }

    /// The longest time it may be held: then the lock goes to the next waiter and this one is
    /// [`Lost`](crate::Guard::lost), whether it is renewed or not. It ties the lock to progress: a holder
    /// that hangs in a living process does not block others for ever. The time starts at the grant; an
    /// upgrade's write grant has its own. Default: no limit.
    ///
    /// Only for engines that grant on leases ([`Capabilities::lease`](crate::Capabilities)): others refuse
    /// the request with `Unsupported`. Zero is `InvalidInput`.
    pub fn max_hold(mut self, max_hold: impl Into<Option<Duration>>) -> Request<'a> {
        self.ask.max_hold = Limit::of(max_hold.into());
        self
    }

    #[inline]
    pub(crate) fn identity(mut self, identity: Option<&'a Arc<Identity>>) -> Request<'a> {
        self.identity = identity;
        self.ask.who = identity.map(|identity| &identity.who);
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn blocking(mut self) -> Result<Guard, Error> {
        match self.take_free() {
            Some(guard) => Ok(guard),
            None => self.block(),
        }
    }

    /// Acquires the lock if this request can be granted now; never waits, except for the one answer of a
    /// server if there is one. (In a task, await it with a timeout of zero instead.)
    ///
    /// # Errors
    /// `WouldBlock` if it is busy; else see [`Request`].
    #[inline]
    pub fn try_now(mut self) -> Result<Guard, Error> {
        self.ask.waits = false;
        if let Some(guard) = self.take_free() {
            return Ok(guard);
        }
        match self.take()? {
            Begun::Granted(guard) => Ok(guard),
            Begun::Queued(queued) => Err(queued.against_its_will()),
        }
    }

    /// Acquires the lock or joins the queue, without waiting for the lock: for callers that manage the wait
    /// themselves; [`Queued`] borrows nothing. If there is a server, waits for its answer, so that a free
    /// lock is `Granted`; [`Request::ask`] does not.
    ///
    /// # Errors
    /// See [`Request`].
    #[inline]
    pub fn begin(mut self) -> Result<Begun, Error> {
        self.take_free().map_or_else(|| self.take(), |guard| Ok(Begun::Granted(guard)))
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
    pub fn ask(mut self) -> Result<Begun, Error> {
        self.ask.parks = false;
        self.begin()
    }

    #[inline(never)]
    fn block(&mut self) -> Result<Guard, Error> {
        match self.take()? {
            Begun::Granted(guard) => Ok(guard),
            Begun::Queued(queued) => queued.park(),
        }
    }

    /// A lock that is free, for an owner of its own: nothing is in between, and the guard is made where it stays.
    /// `None`: nothing was done.
    #[inline]
    fn take_free(&mut self) -> Option<Guard> {
        let ask = &mut self.ask;
        if self.identity.is_some() || ask.max_hold != Limit::NONE || !ask.name.hash_if(ask.hint.is_none()) {
            return None;
        }
        let (handle, token) = self.engine.take_free(ask)?;
        Some(Guard::plain(self.engine, ask.terms, Grant { handle: handle.get(), token, mode: ask.mode }))
    }

    /// Asks for the lock.
    #[inline(never)]
    fn take(&mut self) -> Result<Begun, Error> {
        let ask = &mut self.ask;
        if let Some(max_hold) = ask.max_hold.time() {
            engine::check_max_hold(self.engine, max_hold)?;
        }
        if ask.hint.is_none() {
            ask.name = Name::new(ask.name.text())?;
        }
        ask.may_hold = self.identity.is_some_and(|identity| identity.may_hold());
        // Apart from `take_free`: recording the grant with its owner may fail, and that result would move every guard.
        if self.identity.is_some()
            && let Some((handle, token)) = self.engine.take_free(ask)
        {
            let grant = Grant { handle: handle.get(), token, mode: ask.mode };
            return Guard::new(self.engine, ask.terms, grant, self.identity).map(Begun::Granted);
        }
        match self.engine.begin(ask)? {
            Progress::Granted(grant) => Guard::new(self.engine, ask.terms, grant, self.identity).map(Begun::Granted),
            Progress::Queued(ticket) => {
                Ok(Begun::Queued(Queued::new(self.engine, ask.terms, ticket, self.identity.cloned())))
            }
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("name", &self.ask.name.text())
            .field("mode", &self.ask.mode)
            .field("timeout", &self.ask.timeout.time())
            .field("priority", &self.ask.terms.priority)
            .field("note", &self.ask.note)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Guard, Error>;
    type IntoFuture = Acquire<'a>;

    #[inline]
    fn into_future(mut self) -> Acquire<'a> {
        self.ask.parks = false;
        Acquire { stage: Stage::New(self) }
    }
}

/// The future of a [`Request`]. Dropping it leaves the queue.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Acquire<'a> {
    stage: Stage<'a>,
}

#[derive(Debug)]
enum Stage<'a> {
    New(Request<'a>),
    Queued(Queued),
    Over,
}

impl Future for Acquire<'_> {
    type Output = Result<Guard, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Stage::New(request) = &mut self.stage else { return self.poll_again(context) };
        match request.take_free() {
            Some(guard) => {
                self.stage = Stage::Over;
                Poll::Ready(Ok(guard))
            }
            None => self.begin(context),
        }
    }
}

impl Acquire<'_> {
    #[inline(never)]
    fn begin(&mut self, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let Stage::New(request) = &mut self.stage else { return self.poll_again(context) };
        let begun = request.take();
        self.stage = Stage::Over;
        match begun? {
            Begun::Granted(guard) => Poll::Ready(Ok(guard)),
            Begun::Queued(queued) => {
                self.stage = Stage::Queued(queued);
                self.poll_again(context)
            }
        }
    }

    /// Polls a request that has queued.
    #[cold]
    fn poll_again(&mut self, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let Stage::Queued(queued) = &mut self.stage else { return Poll::Ready(Err(waiting::spent())) };
        let result = std::task::ready!(Pin::new(queued).poll(context));
        self.stage = Stage::Over;
        Poll::Ready(result)
    }
}
