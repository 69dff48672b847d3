//! Waiting in an asyncio task: the awaitable of a request that joined the queue.
//!
//! It yields futures of the loop, one per sleep, and looks for itself when it is woken: a wake is a
//! hint. Leaving it in any way (cancelled, closed, collected) leaves the queue; if the grant came in
//! the same instant, it is handed on.

use std::{sync::Arc, task::Waker};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyBaseException, PyStopIteration},
    prelude::*,
};

use crate::{
    made::string,
    mailbox::{self, Mailbox},
    pending::{Slot, Waiter},
    waking::Bell,
};

/// The wait of one asyncio task for one lock.
#[pyclass(frozen, module = "concurrent_locks._core")]
pub(crate) struct Waiting {
    event_loop: Py<PyAny>,
    slot: Arc<Slot>,
    mailbox: Arc<Mailbox>,
    number: u64,
    waker: Waker,
}

impl Waiting {
    pub(crate) fn new(guard: &Bound<'_, PyAny>, waiter: Waiter, event_loop: Bound<'_, PyAny>) -> PyResult<Waiting> {
        let slot = Arc::new(Slot::new(guard, waiter));
        let mailbox = Mailbox::of(&event_loop).inspect_err(|_| slot.leave(guard.py()))?;
        let number = mailbox::next_wait();
        let waker = Bell::waker(Arc::clone(&mailbox), number);
        Ok(Waiting { event_loop: event_loop.unbind(), slot, mailbox, number, waker })
    }

    /// A future to sleep on, or the end of the wait.
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.slot.poll(py, &self.waker).inspect_err(|_| self.mailbox.forget(self.number))? {
            self.mailbox.forget(self.number);
            return Err(PyStopIteration::new_err((self.slot.guard().clone_ref(py),)));
        }
        let future = self.event_loop.bind(py).call_method0(string!(py, create_future))?;
        future.setattr(string!(py, asyncio_future_blocking), true)?;
        self.mailbox.expect(self.number, future.clone().unbind(), Arc::clone(&self.slot));
        Ok(future)
    }

    fn leave(&self, py: Python<'_>) {
        self.slot.leave(py);
        self.mailbox.forget(self.number);
    }
}

#[pymethods]
impl Waiting {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    #[pyo3(signature = (kind, value = None, traceback = None, /))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.leave(py);
        let raised = match value {
            Some(value) if value.is_instance_of::<PyBaseException>() => value,
            Some(value) => kind.call1((value,))?,
            None if kind.is_instance_of::<PyBaseException>() => kind,
            None => kind.call0()?,
        };
        if let Some(traceback) = traceback {
            raised.setattr(string!(py, traceback), traceback)?;
        }
        Err(PyErr::from_value(raised))
    }

    fn close(&self, py: Python<'_>) {
        self.leave(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        Python::attach(|py| self.leave(py));
    }
}
