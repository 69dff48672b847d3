//! Entering a guard on a thread.

use concurrent_locks::Mode;
use pyo3::{
    exceptions::{PyRuntimeError, PyTimeoutError},
    prelude::*,
};

use super::{Guard, Held, Phase, Target, of, time_of};
use crate::{
    blocking,
    context::Context,
    pending::{Hold, Pending, Waiter},
    timeout::Timeout,
};

impl Guard {
    /// Takes the lock, waiting on this thread. In an event loop it takes it only if it is free.
    pub(crate) fn enter(&self, py: Python<'_>, timeout: Timeout) -> PyResult<()> {
        let context = Context::current(py)?;
        match context {
            Context::Thread => self.enter_here(py, timeout, &context),
            _ => self.enter_at_once(py, timeout, &context),
        }
    }

    /// Takes the lock, waiting on this thread, whatever runs on it.
    pub(crate) fn enter_here(&self, py: Python<'_>, timeout: Timeout, context: &Context<'_>) -> PyResult<()> {
        if let (Target::All(wanted), Timeout::For(_) | Timeout::Forever) = (&self.target, timeout) {
            return self.enter_all(py, wanted, timeout, context);
        }
        let Some(Waiter { pending: Pending::One(queued), owner, _told }) = self.begin(py, timeout, context)? else {
            return Ok(());
        };
        let won = blocking::wait(py, |go_on| queued.blocking_while(go_on));
        self.phase.replace(Phase::Idle);
        self.hold(Held::new(Hold::One(won?), owner));
        Ok(())
    }

    fn enter_all(
        &self,
        py: Python<'_>,
        wanted: &[(String, Mode)],
        timeout: Timeout,
        context: &Context<'_>,
    ) -> PyResult<()> {
        self.must_be_idle()?;
        let locks = self.locks;
        let owner = self.asker.owner(py, locks, context)?;
        let _told = self.tell(py, owner.as_ref(), timeout);
        let request = self.request_all(py, locks, wanted, of(owner.as_ref()))?.timeout(time_of(timeout));
        self.phase.replace(Phase::Waiting);
        let won = blocking::wait(py, |go_on| request.blocking_while(go_on));
        self.phase.replace(Phase::Idle);
        self.hold(Held::new(Hold::All(won?), owner));
        Ok(())
    }

    /// Nothing may wait here: it would stop the event loop, perhaps for ever if the holder runs on it.
    fn enter_at_once(&self, py: Python<'_>, timeout: Timeout, context: &Context<'_>) -> PyResult<()> {
        if timeout.is_over_at_once() {
            return self.enter_here(py, timeout, context);
        }
        let result = self.begin(py, Timeout::Try, context).map(drop);
        result.map_err(|error| self.or_would_block_the_loop(py, error))
    }

    /// The error of a lock that is busy where nothing may wait for it; any other error stays.
    pub(super) fn or_would_block_the_loop(&self, py: Python<'_>, busy: PyErr) -> PyErr {
        if !busy.is_instance_of::<PyTimeoutError>(py) {
            return busy;
        }
        let error = PyRuntimeError::new_err(format!(
            "waiting for {self} here would block the running event loop: use `async with`, or another thread ({})",
            busy.value(py)
        ));
        error.set_cause(py, Some(busy));
        error
    }
}
