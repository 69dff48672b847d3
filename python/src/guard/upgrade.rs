//! Upgrades and downgrades of a guard that is held.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{Guard, Held, Phase, time_of};
use crate::{
    blocking,
    context::Context,
    error::OrRaise,
    log,
    pending::{Hold, Pending, Waiter},
    timeout::Timeout,
    waking,
};

impl Guard {
    /// Turns the read hold into a write hold, waiting on this thread.
    pub(crate) fn upgrade(&self, py: Python<'_>, timeout: Timeout) -> PyResult<()> {
        let context = Context::current(py)?;
        if !matches!(context, Context::Thread) && !timeout.is_over_at_once() {
            let result = self.begin_upgrade(py, Timeout::Try).map(drop);
            return result.map_err(|error| self.or_would_block_the_loop(py, error));
        }
        let Some(Waiter { pending: Pending::Upgrade(queued), .. }) = self.begin_upgrade(py, timeout)? else {
            return Ok(());
        };
        let Phase::Upgrading(Some(mut held)) = self.phase.replace(Phase::Upgrading(None)) else {
            unreachable!("begin_upgrade queued it");
        };
        let result = match &mut held.hold {
            Hold::One(guard) => {
                blocking::wait(py, |go_on| queued.blocking_while(guard, go_on).map(|upgraded| upgraded.then_some(())))
            }
            Hold::All(_) => unreachable!("begin_upgrade refuses them"),
        };
        self.hold(held);
        result
    }

    /// Upgrades (`None`) or joins the queue. Does not wait.
    pub(crate) fn begin_upgrade(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Option<Waiter>> {
        let mut held = match self.phase.replace(Phase::Idle) {
            Phase::Held(held) if held.is_ours() => held,
            was => {
                self.phase.replace(was);
                return Err(PyRuntimeError::new_err(format!("{self} is not held")));
            }
        };
        let Hold::One(guard) = &mut held.hold else {
            self.hold(held);
            return Err(PyRuntimeError::new_err("several locks cannot be upgraded together"));
        };
        let begun = waking::collect(py, || match timeout {
            Timeout::Try => guard.upgrade().try_now().map(|()| None),
            Timeout::For(_) | Timeout::Forever => guard.upgrade().timeout(time_of(timeout)).ask(),
        });
        match begun {
            Ok(Some(queued)) => {
                self.phase.replace(Phase::Upgrading(Some(held)));
                let waiter = Waiter { pending: Pending::Upgrade(queued), owner: None, _told: None };
                let logged = log::debug(py, || format!("waiting to upgrade {self}"));
                logged.inspect_err(|_| self.left(&waiter.pending))?;
                Ok(Some(waiter))
            }
            result => {
                self.hold(held);
                result.or_raise(py).map(|_| None)
            }
        }
    }

    /// Turns the write hold into a read hold.
    pub(crate) fn downgrade(&self, py: Python<'_>) -> PyResult<()> {
        let downgraded = waking::collect(py, || match &mut *self.phase.borrow_mut() {
            Phase::Held(Held { hold: Hold::One(guard), .. }) => Some(guard.downgrade()),
            _ => None,
        });
        downgraded.ok_or_else(|| PyRuntimeError::new_err(format!("{self} is not held")))?.or_raise(py)
    }
}
