//! A request in the queue, of any kind, and the slot in which a wait keeps it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use concurrent_locks::{AcquireAll, Bare, Guard, GuardAll, Queued, QueuedUpgrade};
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{guard::object, owner::OwnerObject, told::Told, waking};

/// What a guard holds.
pub(crate) enum Hold {
    /// Without the crate's guard: see `guard/free.rs`.
    Bare(Bare),
    One(Guard),
    All(GuardAll),
}

impl Hold {
    /// The single guards.
    pub(crate) fn guards(&self) -> &[Guard] {
        match self {
            Hold::Bare(_) => unreachable!("who looks at a hold settles it (B3)"),
            Hold::One(guard) => std::slice::from_ref(guard),
            Hold::All(guards) => guards,
        }
    }
}

/// A request in the queue. Dropping it leaves the queue.
pub(crate) enum Pending {
    One(Box<Queued>),
    All(Box<AcquireAll>),
    Upgrade(QueuedUpgrade),
}

/// A request that joined the queue, and whose it is.
pub(crate) struct Waiter {
    pub(crate) pending: Pending,
    pub(crate) owner: Option<Py<OwnerObject>>,
    pub(crate) _told: Option<Told>,
}

/// The wait of one guard, kept where both the awaitable and the loop's mailbox can end it.
pub(crate) struct Slot {
    guard: Py<PyAny>,
    waiter: Mutex<Option<Waiter>>,
}

impl Slot {
    pub(crate) fn new(guard: &Bound<'_, PyAny>, waiter: Waiter) -> Slot {
        Slot { guard: guard.clone().unbind(), waiter: Mutex::new(Some(waiter)) }
    }

    pub(crate) fn guard(&self) -> &Py<PyAny> {
        &self.guard
    }

    /// Looks whether the guard holds by now; else the waker will be woken.
    pub(crate) fn poll(&self, py: Python<'_>, waker: &Waker) -> PyResult<bool> {
        let guard = object::of(self.guard.bind(py))?;
        // Taken out meanwhile: waking others runs Python code (G2).
        let taken = self.lock().take();
        let Some(mut waiter) = taken else {
            return Err(PyRuntimeError::new_err("this wait for a lock has ended"));
        };
        match guard.poll(py, &mut waiter, &mut Context::from_waker(waker)) {
            Poll::Ready(result) => result.map(|()| true),
            Poll::Pending => {
                *self.lock() = Some(waiter);
                Ok(false)
            }
        }
    }

    /// Leaves the queue, if it is still there.
    pub(crate) fn leave(&self, py: Python<'_>) {
        let waiter = self.lock().take();
        if let (Some(waiter), Ok(guard)) = (waiter, object::of(self.guard.bind(py))) {
            guard.left(&waiter.pending);
            waking::collect(py, || drop(waiter));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiter>> {
        self.waiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
