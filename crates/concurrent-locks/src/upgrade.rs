//! [`Upgrade`]: a read guard becomes a write guard.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    engine::{self, Progress, Wait},
    error::Error,
    guard::Guard,
    mode::Mode,
    waiting::Waiting,
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
    pub fn blocking(self) -> Result<(), Error> {
        if self.guard.mode() == Mode::Write {
            return Ok(());
        }
        let grant = match self.guard.begin_upgrade(self.wait())? {
            Progress::Granted(grant) => grant,
            Progress::Queued(ticket) => Waiting::queued(self.guard.engine(), ticket, None).park()?,
        };
        self.guard.upgraded(grant)
    }

    /// Upgrades if there is no other reader now; never waits.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else reads; see [`Request`](crate::Request). The guard is still a read guard.
    pub fn try_now(self) -> Result<(), Error> {
        if self.guard.mode() == Mode::Write {
            return Ok(());
        }
        match self.guard.begin_upgrade(Wait::No)? {
            Progress::Granted(grant) => self.guard.upgraded(grant),
            Progress::Queued(ticket) => Err(engine::queued_against_its_will(self.guard.engine(), &ticket)),
        }
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
            match this.upgrade.guard.begin_upgrade(this.upgrade.wait())? {
                Progress::Granted(grant) => return Poll::Ready(this.upgrade.guard.upgraded(grant)),
                Progress::Queued(ticket) => {
                    this.waiting = Some(Waiting::queued(this.upgrade.guard.engine(), ticket, None));
                }
            }
        }
        let Some(waiting) = &mut this.waiting else { unreachable!("queued above") };
        match waiting.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => Poll::Ready(result.and_then(|grant| this.upgrade.guard.upgraded(grant))),
        }
    }
}
