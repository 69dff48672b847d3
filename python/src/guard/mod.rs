//! A Python guard: a request that can be entered, and its hold while it is entered.
//!
//! ```text
//!   Idle --begin--> Held --release--> Idle          the lock was free
//!   Idle --begin--> Waiting --poll--> Held          it was busy
//!                   Waiting --left--> Idle          timed out, cancelled, interrupted
//!   Held --begin_upgrade--> Upgrading --> Held      upgraded or not
//! ```

mod done;
mod enter;
pub(crate) mod lease;
pub(crate) mod methods;
mod native;
pub(crate) mod object;
mod shortcut;
mod stop;
mod upgrade;

use std::{
    cell::RefCell,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{self, Poll, Waker, ready},
    time::Duration,
};

use concurrent_locks::{AcquireAll, Begun, Error, GuardAll, LockManager, Mode, Owner, Request, RequestAll};
use pyo3::{
    exceptions::{PyResourceWarning, PyRuntimeError},
    prelude::*,
    types::PyString,
};

use crate::{
    context::Context,
    error::{self, OrRaise},
    fork, log,
    owner::{self, Asker, OwnerObject},
    pending::{Hold, Pending, Waiter},
    timeout::Timeout,
    told::Told,
    waking,
};

/// What a guard is for.
pub(crate) enum Target {
    One { name: Py<PyString>, mode: Mode },
    All(Vec<(String, Mode)>),
}

impl Target {
    fn clone_ref(&self, py: Python<'_>) -> Target {
        match self {
            Target::One { name, mode } => Target::One { name: name.clone_ref(py), mode: *mode },
            Target::All(wanted) => Target::All(wanted.clone()),
        }
    }

    /// Drops it where PyO3 does not know that the GIL is held.
    #[inline]
    fn drop_ref(self, py: Python<'_>) {
        if let Target::One { name, .. } = self {
            name.drop_ref(py);
        }
    }

    /// Whether the lock of this name is among them.
    pub(crate) fn has(&self, py: Python<'_>, sought: &str) -> bool {
        match self {
            Target::One { name, .. } => name.bind(py).to_str().is_ok_and(|name| name == sought),
            Target::All(wanted) => wanted.iter().any(|(name, _)| name == sought),
        }
    }
}

/// A request that can be entered, left, and entered again.
pub(crate) struct Guard {
    pub(crate) locks: &'static LockManager,
    pub(crate) target: Target,
    pub(crate) asker: Asker,
    pub(crate) timeout: Timeout,
    pub(crate) priority: i8,
    pub(crate) note: Option<Py<PyString>>,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) phase: RefCell<Phase>,
}

pub(crate) enum Phase {
    Idle,
    Waiting,
    Held(Held),
    /// `None`: the hold is with the thread that waits.
    Upgrading(Option<Held>),
}

/// What is held, by whom, and in which process.
pub(crate) struct Held {
    pub(crate) hold: Hold,
    pub(crate) owner: Option<Py<OwnerObject>>,
    epoch: u64,
}

impl Held {
    fn new(hold: Hold, owner: Option<Py<OwnerObject>>) -> Held {
        Held { hold, owner, epoch: fork::epoch() }
    }

    /// In a forked child, copies of the parent's guards hold nothing.
    fn is_ours(&self) -> bool {
        self.epoch == fork::epoch()
    }
}

impl Guard {
    /// Another one for the same request, which holds nothing.
    fn copy(&self, py: Python<'_>) -> Guard {
        Guard {
            locks: self.locks,
            target: self.target.clone_ref(py),
            asker: self.asker.clone_ref(py),
            timeout: self.timeout,
            priority: self.priority,
            note: self.note.as_ref().map(|note| note.clone_ref(py)),
            max_hold: self.max_hold,
            phase: RefCell::new(Phase::Idle),
        }
    }

    /// Takes the lock (`None`) or joins the queue, for the caller in this context. Does not wait.
    pub(crate) fn begin(&self, py: Python<'_>, timeout: Timeout, context: &Context<'_>) -> PyResult<Option<Waiter>> {
        self.must_be_idle()?;
        let owner = self.asker.owner(py, self.locks, context)?;
        self.begin_as(py, timeout, owner)
    }

    /// [`Guard::begin`] for the current task, if that is the caller and it is known already.
    #[inline]
    pub(crate) fn begin_as_known_task(&self, py: Python<'_>, timeout: Timeout) -> Option<PyResult<Option<Waiter>>> {
        if !matches!((&self.asker, &*self.phase.borrow()), (Asker::Current, Phase::Idle)) {
            return None;
        }
        let owner = owner::of_known_task(py)?;
        Some(self.begin_as(py, timeout, Some(owner)))
    }

    /// The guard must be idle.
    #[inline]
    fn begin_as(&self, py: Python<'_>, timeout: Timeout, owner: Option<Py<OwnerObject>>) -> PyResult<Option<Waiter>> {
        let locks = self.locks;
        let pending = match &self.target {
            Target::One { name, mode } => {
                let name = name.bind(py);
                let text = name.to_str().map_err(|_| not_utf8(name))?;
                let request = self.request(py, locks, text, *mode, of(owner.as_ref()))?;
                let begun = match timeout {
                    Timeout::Try => self.try_now(py, || request.try_now()).map(Begun::Granted),
                    // Where there is a server, its answer is waited for like the lock: not here, with the GIL.
                    Timeout::For(_) | Timeout::Forever => request.timeout(time_of(timeout)).ask(),
                };
                match begun {
                    Ok(Begun::Granted(guard)) => {
                        // Written where it stays: moving a guard costs as much as a third of the lock.
                        *self.phase.borrow_mut() =
                            Phase::Held(Held { hold: Hold::One(guard), owner, epoch: fork::epoch() });
                        return Ok(None);
                    }
                    Ok(Begun::Queued(queued)) => Pending::One(Box::new(queued)),
                    Err(error) => return Err(error::raise(py, &error)),
                }
            }
            Target::All(wanted) => {
                let request = self.request_all(py, locks, wanted, of(owner.as_ref()))?;
                let begun = match timeout {
                    Timeout::Try => self.try_now(py, || request.try_now()).map(Ok),
                    Timeout::For(_) | Timeout::Forever => begin_all(request, timeout),
                };
                match begun.or_raise(py)? {
                    Ok(guards) => {
                        self.hold(Held::new(Hold::All(guards), owner));
                        return Ok(None);
                    }
                    Err(acquire) => Pending::All(acquire),
                }
            }
        };
        self.join(py, pending, owner, timeout).map(Some)
    }

    /// One try. Where a server decides, others may run until it has answered.
    fn try_now<T: Send>(&self, py: Python<'_>, attempt: impl FnOnce() -> T + Send) -> T {
        if !self.asks_a_server() {
            return attempt();
        }
        self.phase.replace(Phase::Waiting);
        let result = py.detach(attempt);
        self.phase.replace(Phase::Idle);
        result
    }

    /// Whether what is asked of the engine may wait for a server's answer: not with the GIL.
    #[inline]
    fn asks_a_server(&self) -> bool {
        self.locks.capabilities().lease
    }

    /// The request is in the queue.
    #[cold]
    fn join(
        &self,
        py: Python<'_>,
        pending: Pending,
        owner: Option<Py<OwnerObject>>,
        timeout: Timeout,
    ) -> PyResult<Waiter> {
        self.phase.replace(Phase::Waiting);
        let told = self.tell(py, owner.as_ref(), timeout);
        let waiter = Waiter { pending, owner, _told: told };
        log::debug(py, || format!("waiting for {self}")).inspect_err(|_| self.left(&waiter.pending))?;
        Ok(waiter)
    }

    fn request<'a>(
        &'a self,
        py: Python<'a>,
        locks: &LockManager,
        name: &'a str,
        mode: Mode,
        owner: Option<&'a Owner>,
    ) -> PyResult<Request<'a>> {
        let mut request = locks.request(name, mode);
        if self.priority != 0 {
            request = request.priority(self.priority);
        }
        if let Some(note) = &self.note {
            request = request.note(note.bind(py).to_str()?);
        }
        if self.max_hold.is_some() {
            request = request.max_hold(self.max_hold);
        }
        Ok(match owner {
            Some(owner) => request.owner(owner),
            None => request,
        })
    }

    fn request_all(
        &self,
        py: Python<'_>,
        locks: &LockManager,
        wanted: &[(String, Mode)],
        owner: Option<&Owner>,
    ) -> PyResult<RequestAll> {
        let wanted = wanted.iter().map(|(name, mode)| (name.as_str(), *mode));
        let mut request = locks.lock_all(wanted).priority(self.priority).max_hold(self.max_hold);
        if let Some(note) = &self.note {
            request = request.note(note.bind(py).to_str()?);
        }
        Ok(match owner {
            Some(owner) => request.owner(owner),
            None => request,
        })
    }

    /// Looks whether the pending request is granted.
    pub(crate) fn poll(
        &self,
        py: Python<'_>,
        waiter: &mut Waiter,
        context: &mut task::Context<'_>,
    ) -> Poll<PyResult<()>> {
        let result = waking::collect(py, || match &mut waiter.pending {
            Pending::One(queued) => Pin::new(&mut **queued).poll(context).map_ok(Hold::One).map_ok(Some),
            Pending::All(acquire) => Pin::new(&mut **acquire).poll(context).map_ok(Hold::All).map_ok(Some),
            Pending::Upgrade(queued) => match &mut *self.phase.borrow_mut() {
                Phase::Upgrading(Some(Held { hold: Hold::One(guard), .. })) => {
                    queued.poll(guard, context).map_ok(|()| None)
                }
                _ => unreachable!("only what is held is upgraded"),
            },
        });
        let result = ready!(result);
        self.left(&waiter.pending);
        Poll::Ready(result.or_raise(py).map(|won| {
            if let Some(hold) = won {
                self.hold(Held::new(hold, waiter.owner.take()));
            }
        }))
    }

    /// The pending request has ended, one way or the other.
    pub(crate) fn left(&self, pending: &Pending) {
        let was = self.phase.replace(Phase::Idle);
        if let (Pending::Upgrade(_), Phase::Upgrading(Some(held))) = (pending, was) {
            self.hold(held);
        }
    }

    /// Tells how long the request will wait.
    fn tell(&self, py: Python<'_>, owner: Option<&Py<OwnerObject>>, timeout: Timeout) -> Option<Told> {
        owner.map(|owner| Told::new(owner.clone_ref(py), self.target.clone_ref(py), timeout))
    }

    /// Releases what is held.
    pub(crate) fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.release_held(py).unwrap_or_else(|| {
            let error = self.not_held(py);
            self.forget_parents();
            Err(error)
        })
    }

    /// The end of a `with` block: a lock that was lost is an error, unless the block raised another.
    #[inline]
    pub(crate) fn exit(&self, py: Python<'_>, raised: bool) -> PyResult<()> {
        match self.release_held(py) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if raised => log::warning(py, || error.value(py).to_string()),
            Some(result) => result,
            // A forked child leaves its copy of its parent's block.
            None if raised => {
                self.forget_parents();
                Ok(())
            }
            None => self.release(py),
        }
    }

    /// Releases what is held by this process; `None` if nothing is.
    #[inline]
    fn release_held(&self, py: Python<'_>) -> Option<PyResult<()>> {
        let mut phase = self.phase.borrow_mut();
        if !matches!(&*phase, Phase::Held(held) if held.is_ours()) {
            return None;
        }
        let Phase::Held(Held { hold, owner, epoch: _ }) = std::mem::replace(&mut *phase, Phase::Idle) else {
            unreachable!("looked at above");
        };
        drop(phase);
        if let Some(owner) = owner {
            owner.drop_ref(py);
        }
        let given = waking::collect_or_wait(py, self.asks_a_server(), || match hold {
            Hold::One(guard) => guard.release(),
            Hold::All(guards) => guards.release(),
        });
        Some(given.or_raise(py))
    }

    /// Looks at what is held.
    pub(crate) fn with_held<T>(&self, look: impl FnOnce(&Held) -> PyResult<T>) -> PyResult<T> {
        match &*self.phase.borrow() {
            Phase::Held(held) | Phase::Upgrading(Some(held)) if held.is_ours() => look(held),
            _ => Python::attach(|py| Err(self.not_held(py))),
        }
    }

    /// Whether it is a forked child's copy of what its parent holds.
    pub(crate) fn is_parents(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Held(held) | Phase::Upgrading(Some(held)) if !held.is_ours())
    }

    /// A forked child has seen that its copy holds nothing, and may use it for itself.
    fn forget_parents(&self) {
        if self.is_parents() {
            self.phase.replace(Phase::Idle);
        }
    }

    /// The error of who believes that it is held.
    #[cold]
    fn not_held(&self, py: Python<'_>) -> PyErr {
        if !self.is_parents() {
            return PyRuntimeError::new_err(format!("{self} is not held"));
        }
        let text = format!(
            "{self} is lost: it belongs to the process that this one was forked from, and is not inherited; take it again, \
             in the process that works under it"
        );
        let class = py.import("concurrent_locks.errors").and_then(|errors| errors.getattr("LockLostError"));
        class.and_then(|class| class.call1((text,))).map_or_else(|broken| broken, PyErr::from_value)
    }

    pub(crate) fn is_held(&self) -> bool {
        match &*self.phase.borrow() {
            Phase::Held(held) | Phase::Upgrading(Some(held)) => held.is_ours(),
            Phase::Upgrading(None) => true,
            Phase::Idle | Phase::Waiting => false,
        }
    }

    fn hold(&self, held: Held) {
        self.phase.replace(Phase::Held(held));
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Idle)
    }

    fn must_be_idle(&self) -> PyResult<()> {
        let why = match &*self.phase.borrow() {
            Phase::Idle => return Ok(()),
            // A forked child's copy of what its parent holds or waits for.
            Phase::Held(held) if !held.is_ours() => return Ok(()),
            Phase::Held(_) | Phase::Upgrading(_) => "held already: release it first, or take another guard",
            Phase::Waiting => "being waited for already: take another guard for every task and thread",
        };
        Err(PyRuntimeError::new_err(format!("{self} is {why}")))
    }

    /// The guard is gone. What it held is released, and its owner is warned of the mistake.
    pub(crate) fn abandoned(&self, py: Python<'_>) {
        if !self.is_held() {
            return;
        }
        let text = format!("{self} was still held when its guard was dropped, and is released now; use `with`");
        let warned = std::ffi::CString::new(text)
            .map_err(PyErr::from)
            .and_then(|text| PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &text, 1));
        if let Err(error) = warned.and_then(|()| self.release(py)) {
            error.write_unraisable(py, None);
        }
    }
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.target {
            Target::One { name, mode } => {
                Python::attach(|py| write!(f, "the {mode} lock {:?}", name.bind(py).to_string_lossy()))
            }
            Target::All(wanted) => {
                let names: Vec<_> = wanted.iter().map(|(name, mode)| format!("{name:?} ({mode})")).collect();
                write!(f, "the locks {}", names.join(", "))
            }
        }
    }
}

fn begin_all(request: RequestAll, timeout: Timeout) -> Result<Result<GuardAll, Box<AcquireAll>>, Error> {
    let mut acquire = request.timeout(time_of(timeout)).into_future();
    // Its wait polls it again, with a waker.
    match Pin::new(&mut acquire).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map(Ok),
        Poll::Pending => Ok(Err(Box::new(acquire))),
    }
}

/// The error of a name that has no UTF-8: it contains half of a surrogate pair.
#[cold]
fn not_utf8(name: &Bound<'_, PyString>) -> PyErr {
    let py = name.py();
    let class = py.import("concurrent_locks.errors").and_then(|errors| errors.getattr("InvalidNameError"));
    let text = format!("the lock name {:?} is not UTF-8", name.to_string_lossy());
    class.and_then(|class| class.call1((text,))).map_or_else(|broken| broken, PyErr::from_value)
}

fn of(owner: Option<&Py<OwnerObject>>) -> Option<&Owner> {
    owner.map(|owner| owner.get().owner())
}

fn time_of(timeout: Timeout) -> Option<Duration> {
    match timeout {
        Timeout::Try => Some(Duration::ZERO),
        Timeout::For(time) => Some(time),
        Timeout::Forever => None,
    }
}
