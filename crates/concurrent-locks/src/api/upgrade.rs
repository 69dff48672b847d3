//! [`Upgrade`]: a read guard becomes a write guard.

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
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Upgrade<'g> {
        self.timeout = timeout.into();
        self
    }

    /// Waits by parking this thread.
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
    /// # Errors
    /// `WouldBlock` if somebody else reads; see [`Request`](crate::Request). The guard is still a read guard.
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

    /// Upgrades (`None`) or joins the queue, and does not wait for its turn: for callers that keep the
    /// wait themselves, where [`QueuedUpgrade`] borrows nothing. Where there is a server, waits for its
    /// answer; [`Upgrade::ask`] does not.
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn begin(mut self) -> Result<Option<QueuedUpgrade>, Error> {
        self.step(true)
    }

    /// As [`Upgrade::begin`], and never waits, as [`Request::ask`](crate::Request::ask).
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
#[must_use = "dropping it leaves the queue"]
#[derive(Debug)]
pub struct QueuedUpgrade {
    waiting: Waiting,
}

impl QueuedUpgrade {
    /// Looks whether `guard`, which must be the one that asked, is a write guard by now; else
    /// arranges for the waker to be woken.
    ///
    /// # Errors
    /// See [`Request`](crate::Request); the guard is still a read guard.
    pub fn poll(&mut self, guard: &mut Guard, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let grant = ready!(self.waiting.poll(context))?;
        Poll::Ready(guard.upgraded(grant))
    }

    /// Waits by parking this thread as long as `go_on` says yes, as in
    /// [`Queued::blocking_while`](crate::Queued::blocking_while); `false` if it said no. `guard`
    /// must be the one that asked.
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
