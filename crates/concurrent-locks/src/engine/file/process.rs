//! A process's state in a directory of lock files: a private table in which its requests queue,
//! and the resources that they use. A forked child begins with a new one.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::{
    journal::{Journal, Who},
    loss_watch::LossWatch,
    resource::{Entered, Entrant, Granted, Resource, Stage, left},
    timer::Timer,
};
use crate::{
    engine::{self, Ask, Ending, Engine, Grant, Progress, Tenure, Ticket, Wait, unsupported},
    os::{fork_generation::ForkGeneration, owner_id},
    words::{
        error::{Error, ErrorKind},
        lease::Standing,
        mode::Mode,
        name::Name,
        settings::Fairness,
    },
};

pub(super) struct Process {
    /// The process that this belongs to.
    pub(super) process: ForkGeneration,
    pub(super) table: &'static dyn Engine,
    pub(super) journal: Journal,
    directory: PathBuf,
    url: String,
    /// Where this engine's clock begins.
    epoch: Instant,
    timer: Timer,
    pub(super) loss_watch: LossWatch,
    /// The resources that some request or thread uses.
    resources: Mutex<HashMap<String, Arc<Resource>>>,
    /// Requests that wait or are held, by handle.
    requests: Mutex<HashMap<u64, Request>>,
}

/// The longest sleep of a thread without a look.
const SLICE: Duration = Duration::from_millis(50);

/// A request that waits or is held.
struct Request {
    who: Who,
    resource: Arc<Resource>,
    begun: Instant,
    /// `None` is never.
    deadline: Option<Instant>,
    fairness: Fairness,
    place: Place,
    /// When it was granted, and how long it had waited.
    granted: Option<(Instant, Duration)>,
}

impl Request {
    fn tenure(&self) -> Tenure {
        let (held_for, waited) = self.granted.map(|(at, waited)| (at.elapsed(), waited)).unwrap_or_default();
        Tenure { owner: self.who.owner, waited, held_for, max_hold: None }
    }
}

impl Request {
    /// How long it has waited; what was given no time has not.
    fn waited(&self) -> Duration {
        if self.deadline == Some(self.begun) { Duration::ZERO } else { self.begun.elapsed() }
    }
}

#[derive(Clone, Copy)]
enum Place {
    /// In the table's queue.
    Queued(Ticket),
    /// It has the table's grant, and waits for the kernel or holds the lock.
    Entered(Grant),
}

impl Process {
    pub(super) fn new(directory: PathBuf, url: String, table: &'static dyn Engine) -> Process {
        Process {
            process: ForkGeneration::current(),
            table,
            journal: Journal::default(),
            directory,
            url,
            epoch: Instant::now(),
            timer: Timer::default(),
            loss_watch: LossWatch::default(),
            resources: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    pub(super) fn begin(&'static self, handle: u64, ask: &Ask<'_>) -> Result<Progress, Error> {
        let begun = Instant::now();
        let drawn = engine::Who { id: owner_id::anonymous(), ..Default::default() };
        let asker = ask.who.unwrap_or(&drawn);
        let (resource, label) = (ask.name.text().to_owned(), asker.label.clone());
        let who = Who { resource, mode: ask.mode, owner: asker.id, label };
        let resource = self.resource(ask.name);
        if ask.mode == Mode::Write && resource.would_upgrade(asker.id) {
            self.forget(resource);
            return Err(self.no_upgrade());
        }
        let deadline = match ask.wait() {
            Wait::No => Some(begun),
            Wait::For(time) => begun.checked_add(time),
            Wait::Forever => None,
        };
        let place = match self.table.begin(&Ask { hint: None, who: Some(asker), ..*ask }) {
            Ok(Progress::Granted(grant)) => Place::Entered(grant),
            Ok(Progress::Queued(ticket)) => Place::Queued(ticket),
            Err(error) => {
                let error = self.corrected(&resource, error);
                self.journal.refused(&who, &error, begun.elapsed());
                self.forget(resource);
                return Err(error);
            }
        };
        let request = Request { who, resource, begun, deadline, fairness: ask.terms.fairness, place, granted: None };
        let ticket = ask.ticket(handle, deadline.map_or(u64::MAX, |deadline| self.reading(deadline)));
        let granted = match place {
            Place::Entered(grant) => self.enter(handle, request, grant, !ask.waits)?,
            Place::Queued(_) => {
                self.journal.queued(&request.who);
                self.requests().insert(handle, request);
                None
            }
        };
        Ok(granted.map_or(Progress::Queued(ticket), Progress::Granted))
    }

    /// Goes on with a request that the table has granted: `None` if it waits for the kernel.
    fn enter(
        &'static self,
        handle: u64,
        mut request: Request,
        grant: Grant,
        try_now: bool,
    ) -> Result<Option<Grant>, Error> {
        let was_queued = matches!(request.place, Place::Queued(_));
        request.place = Place::Entered(grant);
        let Who { mode, owner, .. } = request.who;
        let begun = request.begun;
        let entrant = Entrant { request: handle, owner, mode, pass: grant.token, begun, stage: Stage::Waiting(None) };
        match request.resource.enter(self.table, entrant, left(request.deadline).is_some()) {
            Ok(Entered::Granted(granted)) => {
                let waited = if was_queued { granted.at.saturating_duration_since(begun) } else { Duration::ZERO };
                let grant = self.granted(handle, &mut request, granted, waited);
                self.requests().insert(handle, request);
                Ok(Some(grant))
            }
            Ok(Entered::Waiting) => {
                if !was_queued {
                    self.journal.queued(&request.who);
                }
                let resource = Arc::clone(&request.resource);
                self.requests().insert(handle, request);
                self.ask(&resource);
                self.forget(resource);
                Ok(None)
            }
            Ok(Entered::Busy) => {
                let busy = self.busy(&request.resource, None, request.waited());
                let refuse = if try_now { Error::would_block } else { Error::timed_out };
                let error = refuse(&request.who.resource, mode, busy);
                Err(self.refuse(handle, request, grant, error))
            }
            Ok(Entered::Upgrade) => Err(self.refuse(handle, request, grant, self.no_upgrade())),
            Err(error) => Err(self.refuse(handle, request, grant, error)),
        }
    }

    pub(super) fn poll(&'static self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        let Some(request) = self.take(ticket.handle) else { return Poll::Ready(Err(self.lost("waiting request"))) };
        let request = match request.place {
            Place::Entered(grant) => return self.look(ticket.handle, request, grant, context.waker()),
            Place::Queued(inner) => match self.table.poll(&inner, context) {
                Poll::Pending => {
                    self.requests().insert(ticket.handle, request);
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.refused(request, error))),
                Poll::Ready(Ok(grant)) => match self.enter(ticket.handle, request, grant, false) {
                    Ok(None) => self.take(ticket.handle).map(|request| (request, grant)),
                    Ok(Some(grant)) => return Poll::Ready(Ok(grant)),
                    Err(error) => return Poll::Ready(Err(error)),
                },
            },
        };
        let Some((request, grant)) = request else { return Poll::Ready(Err(self.lost("waiting request"))) };
        self.look(ticket.handle, request, grant, context.waker())
    }

    pub(super) fn park(
        &'static self,
        ticket: &Ticket,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Grant>, Error> {
        let Some(request) = self.take(ticket.handle) else { return Err(self.lost("waiting request")) };
        match request.place {
            Place::Entered(_) => drop(self.requests().insert(ticket.handle, request)),
            Place::Queued(inner) => match self.table.park(&inner, go_on) {
                Err(error) => return Err(self.refused(request, error)),
                Ok(None) => {
                    self.left(request);
                    return Ok(None);
                }
                Ok(Some(grant)) => {
                    if let Some(grant) = self.enter(ticket.handle, request, grant, false)? {
                        return Ok(Some(grant));
                    }
                }
            },
        }
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        loop {
            match self.poll(ticket, &mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result.map(Some),
                Poll::Pending if !go_on() => {
                    self.abandon(ticket);
                    return Ok(None);
                }
                // Woken by the grant, or by the timer.
                Poll::Pending => thread::park_timeout(SLICE),
            }
        }
    }

    /// Looks at a request that waits for the kernel.
    fn look(
        &'static self,
        handle: u64,
        mut request: Request,
        grant: Grant,
        waker: &Waker,
    ) -> Poll<Result<Grant, Error>> {
        let ended = match request.resource.look(handle, waker) {
            Some(Ok(granted)) => Ok(granted),
            Some(Err(error)) => Err(error),
            None if left(request.deadline).is_none() => Err(Error::timed_out(
                &request.who.resource,
                request.who.mode,
                self.busy(&request.resource, Some(1), request.waited()),
            )),
            None => match request.deadline.map_or(Ok(()), |deadline| self.timer.set(deadline, handle, waker)) {
                Ok(()) => {
                    self.requests().insert(handle, request);
                    return Poll::Pending;
                }
                Err(error) => Err(error),
            },
        };
        if let Some(deadline) = request.deadline {
            self.timer.clear(deadline, handle);
        }
        Poll::Ready(match ended {
            Ok(granted) => {
                let waited = granted.at.saturating_duration_since(request.begun);
                let grant = self.granted(handle, &mut request, granted, waited);
                self.requests().insert(handle, request);
                Ok(grant)
            }
            Err(error) => Err(self.refuse(handle, request, grant, error)),
        })
    }

    pub(super) fn abandon(&'static self, ticket: &Ticket) {
        let Some(request) = self.take(ticket.handle) else { return };
        match request.place {
            Place::Queued(inner) => self.table.abandon(&inner),
            Place::Entered(grant) => {
                if let Some(deadline) = request.deadline {
                    self.timer.clear(deadline, ticket.handle);
                }
                // A dropped future has nobody to notify.
                let _ = self.leave(ticket.handle, &request, &grant, Ending::Normal);
            }
        }
        self.left(request);
    }

    /// A request that is in no queue any more was cancelled.
    fn left(&self, request: Request) {
        self.journal.cancelled(&request.who, request.begun.elapsed());
        self.forget(request.resource);
    }

    pub(super) fn release(&'static self, grant: &Grant, ending: Ending) -> Result<(), Error> {
        let request = self.take(grant.handle).ok_or_else(|| self.lost("grant"))?;
        self.loss_watch.forget(grant.handle);
        let Place::Entered(inner) = request.place else { return Err(self.lost("grant")) };
        let result = self.leave(grant.handle, &request, &inner, ending);
        self.journal.released(&request.who, grant.token, request.tenure().held_for, ending);
        self.forget(request.resource);
        result
    }

    pub(super) fn tenure(&self, grant: &Grant) -> Tenure {
        self.requests().get(&grant.handle).map(Request::tenure).unwrap_or_default()
    }

    pub(super) fn name_of(&self, grant: &Grant) -> Result<String, Error> {
        let requests = self.requests();
        requests.get(&grant.handle).map(|request| request.who.resource.clone()).ok_or_else(|| self.lost("grant"))
    }

    pub(super) fn verify(&self, grant: &Grant) -> Standing {
        if self.loss_of(grant.handle).is_some() { Standing::Lost } else { Standing::Held }
    }

    /// The error of a grant that is lost.
    pub(super) fn loss_of(&self, handle: u64) -> Option<Error> {
        let resource = self.requests().get(&handle).map(|request| Arc::clone(&request.resource));
        let Some(resource) = resource else { return Some(self.lost("grant")) };
        let loss = (!resource.stands(handle)).then(|| resource.lost());
        // A clone that stays behind would be taken for a use.
        self.forget(resource);
        loss
    }

    /// Releases all that a request that entered has: the kernel's lock first, then the table's.
    fn leave(&'static self, handle: u64, request: &Request, grant: &Grant, ending: Ending) -> Result<(), Error> {
        let kernel = request.resource.leave(handle);
        let table = self.table.release(grant, ending, request.fairness);
        self.ask(&request.resource);
        kernel.and(table)
    }

    /// Ends a request that entered with an error.
    fn refuse(&'static self, handle: u64, request: Request, grant: Grant, error: Error) -> Error {
        // The error that is reported is the one that ended the request.
        let _ = self.leave(handle, &request, &grant, Ending::Normal);
        self.journal.refused(&request.who, &error, request.begun.elapsed());
        self.forget(request.resource);
        error
    }

    /// Ends a request that the table has ended with an error.
    fn refused(&self, request: Request, error: Error) -> Error {
        let error = self.corrected(&request.resource, error);
        self.journal.refused(&request.who, &error, request.begun.elapsed());
        self.forget(request.resource);
        error
    }

    fn granted(&self, handle: u64, request: &mut Request, granted: Granted, waited: Duration) -> Grant {
        request.granted = Some((granted.at, waited));
        self.journal.granted(&request.who, granted.token, waited);
        Grant { handle, token: granted.token, mode: request.who.mode }
    }

    /// Has a thread wait for the lock file, if somebody needs it and no thread does. The thread
    /// cannot be called back when the request gives up: it lets go once it has the lock.
    fn ask(&'static self, resource: &Arc<Resource>) {
        let Some(mode) = resource.begin_asking() else { return };
        let asked = Arc::clone(resource);
        let wait = move || {
            asked.asked(self.table, mode, asked.wait(mode));
            self.ask(&asked);
            self.forget(asked);
        };
        let thread = thread::Builder::new().name(format!("waits to {mode}")).spawn(wait);
        if let Err(error) = thread {
            resource.asked(self.table, mode, Err(Error::io("cannot start a thread to wait for a lock file", error)));
        }
    }

    fn no_upgrade(&self) -> Error {
        unsupported(&self.url, "upgrade a read grant", "release it and request to write")
    }

    pub(super) fn lost(&self, what: &str) -> Error {
        let message = format!(
            "the {what} does not belong to this process ({}): it was released, or made before a fork",
            self.url
        );
        Error::new(ErrorKind::Lost, message)
    }

    /// An instant on this engine's clock.
    fn reading(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    fn resource(&self, name: Name<'_>) -> Arc<Resource> {
        let mut resources = self.resources();
        if let Some(resource) = resources.get(name.text()) {
            return Arc::clone(resource);
        }
        let resource = Arc::new(Resource::new(&self.directory, name));
        resources.insert(name.text().to_owned(), Arc::clone(&resource));
        resource
    }

    /// A resource that is in use. This is a use, too.
    pub(super) fn used(&self, name: &str) -> Option<Arc<Resource>> {
        self.resources().get(name).cloned()
    }

    /// Ends a use of a resource; after the last one nothing is kept of it.
    pub(super) fn forget(&self, resource: Arc<Resource>) {
        let mut resources = self.resources();
        // This use and the map's. Uses begin and end while the map is locked, so the last one sees that it is.
        if Arc::strong_count(&resource) == 2 {
            resources.remove(resource.name());
        }
        drop(resource);
    }

    /// How many resources and requests there are.
    #[cfg(all(test, unix))]
    pub(super) fn in_use(&self) -> (usize, usize) {
        (self.resources().len(), self.requests().len())
    }

    /// In a forked child: closes the lock files of its parent, which the parent still holds. What
    /// another thread was just using at the fork cannot be looked at, and stays open.
    pub(super) fn close_inherited(&self) {
        if let Ok(resources) = self.resources.try_lock() {
            resources.values().for_each(|resource| resource.close_inherited());
        }
    }

    fn take(&self, handle: u64) -> Option<Request> {
        self.requests().remove(&handle)
    }

    fn resources(&self) -> MutexGuard<'_, HashMap<String, Arc<Resource>>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<u64, Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes a parked thread.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
