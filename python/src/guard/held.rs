//! What a guard holds: releasing it, looking at it, and errors of those who believe that it is held.

use pyo3::{
    exceptions::{PyResourceWarning, PyRuntimeError},
    prelude::*,
};

use super::{Guard, Held, Phase};
use crate::{error::OrRaise, log, pending::Hold, waking};

impl Guard {
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
        self.release_bare(py).or_else(|| self.release_guards(py))
    }

    #[inline(never)]
    fn release_guards(&self, py: Python<'_>) -> Option<PyResult<()>> {
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
            Hold::Bare(_) => unreachable!("`release_bare` has released it"),
            Hold::All(guards) => guards.release(),
        });
        Some(given.or_raise(py))
    }

    /// Looks at what is held.
    pub(crate) fn with_held<T>(&self, look: impl FnOnce(&Held) -> PyResult<T>) -> PyResult<T> {
        self.settle();
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
    pub(super) fn not_held(&self, py: Python<'_>) -> PyErr {
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

    #[inline]
    pub(super) fn hold(&self, held: Held) {
        // Written where it stays: moving a guard costs as much as a third of the lock.
        *self.phase.borrow_mut() = Phase::Held(held);
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Idle)
    }

    pub(super) fn must_be_idle(&self) -> PyResult<()> {
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
