//! [`Upgrade`]: from a read guard to a write guard.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    api::{guard::Guard, waiting::Waiting},
    engine::{self, Progress, Wait},
    words::{error::Error, mode::Mode},
};

/// A request to turn a read guard into a write guard. Made by [`Guard::upgrade`].
///
/// ```
/// # use concurrent_locks::{LockManager, Mode};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-upgrade").await?;
/// let mut guard = locks.read("skills").await?;
/// guard.upgrade().await?;
/// assert_eq!(guard.mode(), Mode::Write);
/// # Ok(()) }
/// ```
#[must_use = "an upgrade does nothing until it is awaited, `.blocking()` or `.try_now()`"]
#[derive(Debug)]
pub struct Upgrade<'g> {
    guard: &'g mut Guard,
    timeout: Option<Duration>,
}

impl<'g> Upgrade<'g> {
    pub(crate) fn new(guard: &'g mut Guard) -> Upgrade<'g> {
        let timeout = guard.upgrade_timeout();
        Upgrade { guard, timeout }
    }

    /// How long to wait for the other readers to leave; `None` for ever. Default 30 s.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-upgrade-timeout").blocking()?;
    /// # use std::time::Duration;
    /// let mut guard = locks.read("skills").blocking()?;
    /// let _reader = locks.read("skills").blocking()?;
    /// assert!(guard.upgrade().timeout(Duration::from_millis(1)).blocking().is_err());
    /// assert_eq!(guard.mode(), Mode::Read); // still
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Upgrade<'g> {
        self.timeout = timeout.into();
        self
    }

    /// Waits by parking this thread.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-upgrade-blocking").blocking()?;
    /// let mut guard = locks.read("skills").blocking()?;
    /// guard.upgrade().blocking()?;
    /// assert_eq!(guard.mode(), Mode::Write);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn blocking(mut self) -> Result<(), Error> {
        match self.step(true)? {
            None => Ok(()),
            Some(queued) => queued.blocking_while(self.guard, || true).map(|_| ()),
        }
    }

    /// Upgrades if there is no other reader now; never waits.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-upgrade-try-now").blocking()?;
    /// let mut guard = locks.read("skills").blocking()?;
    /// let reader = locks.read("skills").blocking()?;
    /// assert!(guard.upgrade().try_now().is_err());
    /// drop(reader);
    /// guard.upgrade().try_now()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` if there is another reader; see [`Request`](crate::Request). The guard is still a read
    /// guard.
    pub fn try_now(self) -> Result<(), Error> {
        if self.guard.mode() == Mode::Write {
            return Ok(());
        }
        match self.guard.begin_upgrade(Wait::No, true)? {
            Progress::Granted(grant) => self.guard.upgraded(grant),
            Progress::Queued(ticket) => {
                let waiting = Waiting::new(self.guard.engine(), ticket, None);
                Err(engine::queued_against_its_will(waiting.engine()))
            }
        }
    }

    /// Upgrades (`None`) or joins the queue, without waiting: for callers that manage the wait themselves;
    /// [`QueuedUpgrade`] borrows nothing. If there is a server, waits for its answer; [`Upgrade::ask`] does
    /// not.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-upgrade-begin").blocking()?;
    /// let mut guard = locks.read("skills").blocking()?;
    /// assert!(guard.upgrade().begin()?.is_none()); // nobody else reads
    /// assert_eq!(guard.mode(), Mode::Write);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn begin(mut self) -> Result<Option<QueuedUpgrade>, Error> {
        self.step(true)
    }

    /// Like [`Upgrade::begin`], but never waits, as [`Request::ask`](crate::Request::ask).
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-upgrade-ask").blocking()?;
    /// let mut guard = locks.read("skills").blocking()?;
    /// let reader = locks.read("skills").blocking()?;
    /// let queued = guard.upgrade().ask()?.expect("somebody else reads");
    /// drop(reader);
    /// queued.blocking_while(&mut guard, || true)?;
    /// assert_eq!(guard.mode(), Mode::Write);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn ask(mut self) -> Result<Option<QueuedUpgrade>, Error> {
        self.step(false)
    }

    /// See [`Ask::parks`](engine::Ask::parks).
    fn step(&mut self, parks: bool) -> Result<Option<QueuedUpgrade>, Error> {
        if self.guard.mode() == Mode::Write {
            return Ok(None);
        }
        match self.guard.begin_upgrade(self.timeout.map_or(Wait::Forever, Wait::For), parks)? {
            Progress::Granted(grant) => self.guard.upgraded(grant).map(|()| None),
            Progress::Queued(ticket) => {
                let waiting = Waiting::new(self.guard.engine(), ticket, None);
                Ok(Some(QueuedUpgrade { waiting }))
            }
        }
    }
}

/// An [`Upgrade`] that waits in the queue. Dropping it leaves the queue; the guard stays a read guard.
///
/// ```
/// # use concurrent_locks::{LockManager, Mode};
/// # let locks = LockManager::connect("local:doc-queued-upgrade").blocking()?;
/// let mut guard = locks.read("skills").blocking()?;
/// let _reader = locks.read("skills").blocking()?;
/// let queued = guard.upgrade().begin()?;
/// assert!(queued.is_some()); // it waits
/// drop(queued); // it has left the queue
/// assert_eq!(guard.mode(), Mode::Read);
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[must_use = "dropping it leaves the queue"]
#[derive(Debug)]
pub struct QueuedUpgrade {
    waiting: Waiting,
}

impl QueuedUpgrade {
    /// Checks whether `guard`, which must be the one that began this upgrade, is a write guard by now; else
    /// arranges for the waker to be woken.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
    /// # let locks = LockManager::connect("local:doc-upgrade-poll").await?;
    /// # use std::future::poll_fn;
    /// let mut guard = locks.read("skills").await?;
    /// let reader = locks.read("skills").await?;
    /// let mut queued = guard.upgrade().begin()?.expect("somebody else reads");
    /// drop(reader);
    /// poll_fn(|context| queued.poll(&mut guard, context)).await?;
    /// assert_eq!(guard.mode(), Mode::Write);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn poll(&mut self, guard: &mut Guard, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let grant = ready!(self.waiting.poll(context))?;
        Poll::Ready(guard.upgraded(grant))
    }

    /// Waits by parking this thread while `go_on` returns `true`, as in
    /// [`Queued::blocking_while`](crate::Queued::blocking_while); `false` if it returned `false`. `guard`
    /// must be the one that began this upgrade.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-upgrade-while").blocking()?;
    /// let mut guard = locks.read("skills").blocking()?;
    /// let _reader = locks.read("skills").blocking()?;
    /// let queued = guard.upgrade().begin()?.expect("somebody else reads");
    /// assert!(!queued.blocking_while(&mut guard, || false)?); // it has left the queue
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn blocking_while(mut self, guard: &mut Guard, mut go_on: impl FnMut() -> bool) -> Result<bool, Error> {
        match self.waiting.park_while(&mut go_on)? {
            None => Ok(false),
            Some(grant) => guard.upgraded(grant).map(|()| true),
        }
    }
}

impl<'g> IntoFuture for Upgrade<'g> {
    type Output = Result<(), Error>;
    type IntoFuture = Upgrading<'g>;

    fn into_future(self) -> Upgrading<'g> {
        Upgrading { upgrade: self, queued: None }
    }
}

/// The future of an [`Upgrade`]. Dropping it leaves the queue; the guard stays a read guard.
///
/// ```
/// # use concurrent_locks::LockManager;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
/// # let locks = LockManager::connect("local:doc-upgrading").await?;
/// # use std::future::IntoFuture;
/// let mut guard = locks.read("skills").await?;
/// let upgrading = guard.upgrade().into_future();
/// upgrading.await?;
/// # Ok(()) }
/// ```
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Upgrading<'g> {
    upgrade: Upgrade<'g>,
    queued: Option<QueuedUpgrade>,
}

impl Future for Upgrading<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.queued.is_none() {
            this.queued = this.upgrade.step(false)?;
        }
        match &mut this.queued {
            None => Poll::Ready(Ok(())),
            Some(queued) => queued.poll(this.upgrade.guard, context),
        }
    }
}
