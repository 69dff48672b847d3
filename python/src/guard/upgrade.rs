//! Upgrades and downgrades of a guard that is held.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{Guard, Phase, enter::wait_in_greenlet, time_of};
use crate::{
    blocking,
    context::{self, Context},
    error::OrRaise,
    in_the_way::Stops,
    log,
    pending::{Hold, Pending, Waiter},
    timeout::Timeout,
    waking,
};

impl Guard {
    /// Turns the read hold into a write hold, waiting on this thread.
    pub(crate) fn upgrade(&self, object: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<()> {
        let py = object.py();
        let context = Context::current(py)?;
        let Some(waiter) = self.begin_upgrade(py, timeout)? else { return Ok(()) };
        let stops = match &context {
            _ if timeout.ends_at_once() => None,
            _ if context.is_in_event_loop() => Some(Stops::EventLoop),
            _ if !context::greenlets_are_imported(py) => None,
            _ if context::greenlets_cooperate(py).inspect_err(|_| self.left(&waiter.pending))? => {
                return wait_in_greenlet(object, waiter);
            }
            _ => Some(Stops::greenlets(&context)),
        };
        let (Pending::Upgrade(queued), Phase::Upgrading(Some(mut held))) =
            (waiter.pending, self.phase.replace(Phase::Upgrading(None)))
        else {
            unreachable!("begin_upgrade queued it");
        };
        let look = match (stops, &held.owner) {
            (Some(stops), Some(owner)) => match self.look_for(py, owner, stops, true) {
                Ok(look) => Some(look),
                Err(error) => {
                    self.hold(held);
                    return Err(error);
                }
            },
            _ => None,
        };
        let result = match &mut held.hold {
            Hold::One(guard) => blocking::wait(py, look, |go_on| {
                queued.blocking_while(guard, go_on).map(|upgraded| upgraded.then_some(()))
            }),
            Hold::All(_) | Hold::Bare(_) => unreachable!("begin_upgrade refuses or settles them"),
        };
        self.hold(held);
        result
    }

    /// Upgrades (`None`) or joins the queue. Does not wait.
    pub(crate) fn begin_upgrade(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Option<Waiter>> {
        self.settle();
        let mut held = match self.phase.replace(Phase::Idle) {
            Phase::Held(held) if held.is_ours() => held,
            was => {
                self.phase.replace(was);
                return Err(self.not_held(py));
            }
        };
        let Hold::One(guard) = &mut held.hold else {
            self.hold(held);
            return Err(PyRuntimeError::new_err("several locks cannot be upgraded together"));
        };
        self.phase.replace(Phase::Upgrading(None));
        let waits = timeout == Timeout::Try && self.asks_a_server();
        let begun = waking::collect_or_wait(py, waits, || match timeout {
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
        self.settle();
        let mut held = match self.phase.replace(Phase::Upgrading(None)) {
            Phase::Held(held) if matches!(held.hold, Hold::One(_)) => held,
            was => {
                self.phase.replace(was);
                return Err(PyRuntimeError::new_err(format!("{self} is not held")));
            }
        };
        let Hold::One(guard) = &mut held.hold else { unreachable!("looked at above") };
        let downgraded = waking::collect_or_wait(py, self.asks_a_server(), || guard.downgrade());
        self.hold(held);
        downgraded.or_raise(py)
    }
}
