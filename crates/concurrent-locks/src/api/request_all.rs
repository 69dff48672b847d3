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
/// The resources are taken one after the other in the order of their names, which is the same for
/// every caller, so two `lock_all` never wait for each other in a circle. A name given twice is
/// taken once in the stronger mode. The timeout is for all of them together; when it passes, or
/// the future is dropped, those already taken are given back. If one of them is lost before the last is
/// granted (its lease ended, an operator broke it), the request fails with `Lost`, which names it.
#[must_use = "a request does nothing until it is awaited, `.blocking()` or `.try_now()`"]
#[derive(Clone)]
pub struct RequestAll {
    engine: &'static dyn Engine,
    settings: Settings,
    /// In the order they are taken in.
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
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> RequestAll {
        self.timeout = timeout.into();
        self
    }

    /// See [`Request::priority`].
    pub fn priority(mut self, priority: i8) -> RequestAll {
        self.priority = priority;
        self
    }

    /// See [`Request::note`].
    pub fn note(mut self, note: &str) -> RequestAll {
        note.clone_into(&mut self.note);
        self
    }

    /// See [`Request::owner`].
    pub fn owner(mut self, owner: &Owner) -> RequestAll {
        self.identity = Some(Arc::clone(owner.identity()));
        self
    }

    /// See [`Request::max_hold`]. Each lock counts from its own grant, the first taken ends first.
    pub fn max_hold(mut self, max_hold: impl Into<Option<Duration>>) -> RequestAll {
        self.max_hold = max_hold.into();
        self
    }

    /// Waits by parking this thread.
    ///
    /// # Errors
    /// Those of the first resource that could not be taken; see [`Request`].
    pub fn blocking(self) -> Result<GuardAll, Error> {
        let deadline = self.deadline();
        self.each(|request| request.timeout(remaining(deadline)).blocking())
    }

    /// [`RequestAll::blocking`] as long as `go_on` says yes, as in [`Queued::blocking_while`]; `None`
    /// if it said no: then all that was taken is given back.
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

    /// Takes all of them if all are free now; never waits.
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

    /// All of them, if each is still ours: one taken early can be lost while a later one is waited for. Otherwise
    /// the others are given back.
    fn together(&self, guards: Vec<Guard>) -> Result<GuardAll, Error> {
        for (guard, (name, _)) in guards.iter().zip(&self.wanted) {
            guard.check().map_err(|lost| {
                let text = format!("{name:?} was lost before all the locks asked for with it were held: {lost}");
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

/// The future of a [`RequestAll`]; it borrows nothing. Dropping it leaves the queue and gives back
/// what it has.
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
    /// Takes or queues for the next one; `false` if there is none.
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
        // An error gives back what was taken before it.
        let guards = std::mem::take(&mut this.guards);
        Poll::Ready(result.and_then(|()| this.request.together(guards)))
    }
}
