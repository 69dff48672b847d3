//! [`RequestAll`]: several resources, all or nothing.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use crate::{
    api::{
        guard::{Guard, GuardAll},
        identity::Identity,
        owner::Owner,
        queued::{Begun, Queued},
        request::Request,
        waiting,
    },
    engine::Engine,
    words::{error::Error, mode::Mode, settings::Settings},
};

/// A request for several resources, all or nothing. Made by
/// [`LockManager::lock_all`](crate::LockManager::lock_all).
///
/// The resources are acquired one after the other in the order of their names, which is the same for all
/// callers, so two `lock_all` never deadlock with each other. A name given twice is acquired once in the
/// stronger mode. The timeout covers all of them together; when it expires, or the future is dropped, those
/// already acquired are released. If one of them is lost before the last is granted (its lease expired, an
/// operator broke it), the request fails with `Lost`, which names it.
///
/// ```
/// # use concurrent_locks::{LockManager, Mode};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-all").await?;
/// let both = locks.lock_all([("accounts/b", Mode::Write), ("accounts/a", Mode::Write)]).await?;
/// assert_eq!(both.len(), 2); // taken as a, then b
/// assert!(locks.read("accounts/a").try_now().is_err());
/// # Ok(()) }
/// ```
#[must_use = "a request does nothing until it is awaited, `.blocking()` or `.try_now()`"]
#[derive(Clone)]
pub struct RequestAll {
    engine: &'static dyn Engine,
    settings: Settings,
    /// In the order of acquisition.
    wanted: Vec<(String, Mode)>,
    timeout: Option<Duration>,
    priority: i8,
    note: String,
    identity: Option<Arc<Identity>>,
    max_hold: Option<Duration>,
}

impl RequestAll {
    pub(crate) fn new<'a>(
        engine: &'static dyn Engine,
        settings: &Settings,
        wanted: impl IntoIterator<Item = (&'a str, Mode)>,
    ) -> RequestAll {
        let mut wanted: Vec<_> = wanted.into_iter().map(|(name, mode)| (name.to_owned(), mode)).collect();
        // The strongest mode of a name first, so that `dedup` keeps it.
        wanted.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        wanted.dedup_by(|later, first| later.0 == first.0);
        let timeout = settings.write_timeout;
        RequestAll {
            engine,
            settings: *settings,
            wanted,
            timeout,
            priority: 0,
            note: String::new(),
            identity: None,
            max_hold: None,
        }
    }

    /// How long to wait for all of them; `None` for ever. Default 30 s.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-timeout").blocking()?;
    /// # use std::time::Duration;
    /// let both = locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).timeout(Duration::from_secs(5)).blocking()?;
    /// # drop(both);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> RequestAll {
        self.timeout = timeout.into();
        self
    }

    /// See [`Request::priority`].
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-priority").blocking()?;
    /// let both = locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).priority(10).blocking()?;
    /// # drop(both);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn priority(mut self, priority: i8) -> RequestAll {
        self.priority = priority;
        self
    }

    /// See [`Request::note`].
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-note").blocking()?;
    /// let both = locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).note("transfer").blocking()?;
    /// assert_eq!(locks.status("a").blocking()?.unwrap().holders[0].note, "transfer");
    /// # drop(both);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn note(mut self, note: &str) -> RequestAll {
        note.clone_into(&mut self.note);
        self
    }

    /// See [`Request::owner`].
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-owner").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let both = locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).owner(&agent).blocking()?;
    /// assert_eq!(locks.status("a").blocking()?.unwrap().holders[0].label, "agent-7");
    /// # drop(both);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn owner(mut self, owner: &Owner) -> RequestAll {
        self.identity = Some(Arc::clone(owner.identity()));
        self
    }

    /// See [`Request::max_hold`]. Each lock counts from its own grant, the first taken ends first.
    ///
    /// ```
    /// # use concurrent_locks::{ErrorKind, LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-max-hold").blocking()?;
    /// # use std::time::Duration;
    /// let hold = Duration::from_secs(60);
    /// let error = locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).max_hold(hold).blocking().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unsupported); // `local:` has no leases
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn max_hold(mut self, max_hold: impl Into<Option<Duration>>) -> RequestAll {
        self.max_hold = max_hold.into();
        self
    }

    /// Waits by parking this thread.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-blocking").blocking()?;
    /// let both = locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).blocking()?;
    /// assert_eq!(both.len(), 2);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the first resource that could not be acquired; see [`Request`].
    pub fn blocking(self) -> Result<GuardAll, Error> {
        let deadline = self.deadline();
        self.each(|request| request.timeout(remaining(deadline)).blocking())
    }

    /// [`RequestAll::blocking`] while `go_on` returns `true`, as in [`Queued::blocking_while`]; `None` if
    /// it returned `false`: then all acquired locks are released.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-while").blocking()?;
    /// let _busy = locks.write("b").blocking()?;
    /// let mut asked = 0;
    /// let go_on = || {
    ///     asked += 1;
    ///     asked < 3
    /// };
    /// assert!(locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).blocking_while(go_on)?.is_none());
    /// assert!(locks.write("a").try_now().is_ok()); // released
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`RequestAll::blocking`].
    pub fn blocking_while(self, mut go_on: impl FnMut() -> bool) -> Result<Option<GuardAll>, Error> {
        let deadline = self.deadline();
        let mut guards = Vec::with_capacity(self.wanted.len());
        for request in self.requests() {
            let guard = match request.timeout(remaining(deadline)).begin()? {
                Begun::Granted(guard) => guard,
                Begun::Queued(queued) => match queued.blocking_while(&mut go_on)? {
                    Some(guard) => guard,
                    None => return Ok(None),
                },
            };
            guards.push(guard);
        }
        self.together(guards).map(Some)
    }

    /// Acquires all of them if all are free now; never waits.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-all-try-now").blocking()?;
    /// let _busy = locks.write("b").blocking()?;
    /// assert!(locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).try_now().is_err());
    /// assert!(locks.write("a").try_now().is_ok()); // released
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` if one is busy; else see [`Request`].
    pub fn try_now(self) -> Result<GuardAll, Error> {
        self.each(|request| request.try_now())
    }

    fn each(&self, take: impl Fn(Request<'_>) -> Result<Guard, Error>) -> Result<GuardAll, Error> {
        let guards = self.requests().map(take).collect::<Result<_, _>>()?;
        self.together(guards)
    }

    /// All of them, if each is still held: one acquired early can be lost while a later one is waited for.
    /// Otherwise the others are released.
    fn together(&self, guards: Vec<Guard>) -> Result<GuardAll, Error> {
        for (guard, (name, _)) in guards.iter().zip(&self.wanted) {
            guard.check().map_err(|lost| {
                let text = format!("{name:?} was lost before all locks of the request were acquired: {lost}");
                Error::new(lost.kind(), text).on(name)
            })?;
        }
        Ok(GuardAll::new(guards))
    }

    fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        self.wanted.iter().map(|(name, mode)| self.request(name, *mode))
    }

    fn request<'a>(&'a self, name: &'a str, mode: Mode) -> Request<'a> {
        Request::new(self.engine, &self.settings, name, mode)
            .priority(self.priority)
            .note(&self.note)
            .identity(self.identity.as_ref())
            .max_hold(self.max_hold)
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

impl fmt::Debug for RequestAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestAll")
            .field("wanted", &self.wanted)
            .field("timeout", &self.timeout)
            .field("priority", &self.priority)
            .field("note", &self.note)
            .finish_non_exhaustive()
    }
}

impl IntoFuture for RequestAll {
    type Output = Result<GuardAll, Error>;
    type IntoFuture = AcquireAll;

    fn into_future(self) -> AcquireAll {
        AcquireAll {
            deadline: self.deadline(),
            guards: Vec::with_capacity(self.wanted.len()),
            queued: None,
            over: false,
            request: self,
        }
    }
}

/// The future of a [`RequestAll`]; it borrows nothing. Dropping it leaves the queue and releases
/// what it has.
///
/// ```
/// # use concurrent_locks::{LockManager, Mode};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-all-acquire").await?;
/// # use std::future::IntoFuture;
/// let both = tokio::spawn(locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).into_future());
/// assert_eq!(both.await.unwrap()?.len(), 2);
/// # Ok(()) }
/// ```
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct AcquireAll {
    request: RequestAll,
    deadline: Option<Instant>,
    guards: Vec<Guard>,
    queued: Option<Queued>,
    over: bool,
}

impl AcquireAll {
    /// Acquires or queues for the next one; `false` if there is none.
    fn begin_next(&mut self) -> Result<bool, Error> {
        let Some((name, mode)) = self.request.wanted.get(self.guards.len()) else { return Ok(false) };
        match self.request.request(name, *mode).timeout(remaining(self.deadline)).ask()? {
            Begun::Granted(guard) => self.guards.push(guard),
            Begun::Queued(queued) => self.queued = Some(queued),
        }
        Ok(true)
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if let Some(queued) = &mut self.queued {
                let guard = ready!(Pin::new(queued).poll(context));
                self.queued = None;
                self.guards.push(guard?);
            }
            if !self.begin_next()? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Future for AcquireAll {
    type Output = Result<GuardAll, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(Err(waiting::spent()));
        }
        let result = ready!(this.advance(context));
        this.over = true;
        // An error releases what was acquired before it.
        let guards = std::mem::take(&mut this.guards);
        Poll::Ready(result.and_then(|()| this.request.together(guards)))
    }
}
