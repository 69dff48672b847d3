//! Asking: a guard takes its lock or joins the queue, and looks whether it is granted.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{self, Poll, Waker, ready},
};

use concurrent_locks::{AcquireAll, Begun, Error, GuardAll, LockManager, Mode, Owner, Request, RequestAll};
use pyo3::{prelude::*, types::PyString};

use super::{Guard, Held, Phase, Target, of, time_of};
use crate::{
    context::Context,
    error::{self, OrRaise},
    log,
    owner::OwnerObject,
    pending::{Hold, Pending, Waiter},
    timeout::Timeout,
    told::Told,
    waking,
};

impl Guard {
    /// Takes the lock (`None`) or joins the queue, for the caller in this context. Does not wait.
    pub(crate) fn begin(&self, py: Python<'_>, timeout: Timeout, context: &Context<'_>) -> PyResult<Option<Waiter>> {
        self.must_be_idle()?;
        let owner = self.asker.owner(py, self.locks, context)?;
        self.begin_as(py, timeout, owner)
    }

    /// [`Guard::begin`] for this owner. The guard must be idle.
    pub(crate) fn begin_as(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        owner: Option<Py<OwnerObject>>,
    ) -> PyResult<Option<Waiter>> {
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
                        self.hold(Held::new(Hold::One(guard), owner));
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
    pub(super) fn asks_a_server(&self) -> bool {
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

    pub(super) fn request_all(
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
    pub(super) fn tell(&self, py: Python<'_>, owner: Option<&Py<OwnerObject>>, timeout: Timeout) -> Option<Told> {
        owner.map(|owner| Told::new(owner.clone_ref(py), self.target.clone_ref(py), timeout))
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
