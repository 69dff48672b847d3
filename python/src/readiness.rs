//! Waiting without asyncio: a file descriptor becomes readable when there is progress.

use std::{
    io::{PipeReader, PipeWriter},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use pyo3::prelude::*;

use crate::{
    pending::{Slot, Waiter},
    pipe::{self, End},
};

/// The wait of one trio task or greenlet.
#[pyclass(frozen, module = "concurrent_locks._core")]
pub(crate) struct Readiness {
    slot: Slot,
    pipe: End<PipeReader>,
    knock: Arc<Knock>,
    waker: Waker,
}

/// A waker that writes one byte, once per look.
struct Knock {
    knocked: AtomicBool,
    pipe: End<PipeWriter>,
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        if !self.knocked.swap(true, Ordering::AcqRel) {
            self.pipe.ring();
        }
    }
}

impl Readiness {
    pub(crate) fn new(guard: &Bound<'_, PyAny>, waiter: Waiter) -> PyResult<Readiness> {
        let slot = Slot::new(guard, waiter);
        let (pipe, bell) = pipe::pipe().inspect_err(|_| slot.leave(guard.py()))?;
        let knock = Arc::new(Knock { knocked: AtomicBool::new(false), pipe: bell });
        let waker = Waker::from(Arc::clone(&knock));
        Ok(Readiness { slot, pipe, knock, waker })
    }
}

#[pymethods]
impl Readiness {
    /// What becomes readable when it is time to `poll`.
    fn fileno(&self) -> PyResult<std::ffi::c_int> {
        self.pipe.descriptor()
    }

    /// Whether the wait has ended: the guard holds. Raises if it ended otherwise.
    fn poll(&self, py: Python<'_>) -> PyResult<bool> {
        if self.knock.knocked.swap(false, Ordering::AcqRel) {
            self.pipe.take()?;
        }
        self.slot.poll(py, &self.waker)
    }

    /// Leaves the queue, if it is still in it.
    fn leave(&self, py: Python<'_>) {
        self.slot.leave(py);
    }
}
