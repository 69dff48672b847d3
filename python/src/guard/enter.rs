//! Entering a guard with `with`: on a thread, in an event loop, in a greenlet.
//!
//! | where | how it waits |
//! |---|---|
//! | on a plain thread | on the thread |
//! | where an event loop runs | on the thread, unless that would be for ever: see `in_the_way.rs` |
//! | in a greenlet of gevent or eventlet | as they do: other greenlets run |
//! | in another greenlet | on the thread, unless that would be for ever |

use concurrent_locks::Mode;
use pyo3::prelude::*;

use super::{Guard, Held, Phase, Target, free::Tried, of, time_of};
use crate::{
    blocking,
    context::{self, Context},
    in_the_way::{self, Look, Stops},
    made::string,
    owner::OwnerObject,
    pending::{Hold, Pending, Waiter},
    readiness::Readiness,
    timeout::Timeout,
};

impl Guard {
    /// Takes the lock, waiting here.
    #[inline]
    pub(crate) fn enter(&self, object: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<()> {
        match self.take_free(object.py()) {
            Tried::Taken => Ok(()),
            Tried::Busy(owner) => {
                owner.drop_ref(object.py());
                self.enter_slowly(object, timeout)
            }
            Tried::Unusual => self.enter_slowly(object, timeout),
        }
    }

    /// The caller is not known yet, or has to wait, or is refused.
    #[inline(never)]
    fn enter_slowly(&self, object: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<()> {
        let py = object.py();
        let context = Context::current(py)?;
        if timeout.ends_at_once() {
            return self.enter_here(py, timeout, &context, None);
        }
        if context.is_in_event_loop() {
            return self.enter_here(py, timeout, &context, Some(Stops::EventLoop));
        }
        if !context::greenlets_are_imported(py) {
            return self.enter_here(py, timeout, &context, None);
        }
        if !context::greenlets_cooperate(py)? {
            return self.enter_here(py, timeout, &context, Some(Stops::greenlets(&context)));
        }
        match self.begin(py, timeout, &context)? {
            None => Ok(()),
            Some(waiter) => wait_in_greenlet(object, waiter),
        }
    }

    /// Takes the lock, waiting on this thread; whoever it stops must not be in the way.
    fn enter_here(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        context: &Context<'_>,
        stops: Option<Stops>,
    ) -> PyResult<()> {
        if let (Target::All(wanted), Timeout::For(_) | Timeout::Forever) = (&self.target, timeout) {
            return self.enter_all(py, wanted, timeout, context, stops);
        }
        let Some(waiter) = self.begin(py, timeout, context)? else { return Ok(()) };
        let look = self.look(py, waiter.owner.as_ref(), timeout, stops).inspect_err(|_| self.left(&waiter.pending))?;
        let Waiter { pending: Pending::One(queued), owner, _told } = waiter else {
            unreachable!("several are taken by `enter_all`, and `begin` does not upgrade");
        };
        let won = blocking::wait(py, look, |go_on| queued.blocking_while(go_on));
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
        stops: Option<Stops>,
    ) -> PyResult<()> {
        self.must_be_idle()?;
        let locks = self.locks;
        let owner = self.asker.owner(py, locks, context)?;
        let look = self.look(py, owner.as_ref(), timeout, stops)?;
        let _told = self.tell(py, owner.as_ref(), timeout);
        let request = self.request_all(py, locks, wanted, of(owner.as_ref()))?.timeout(time_of(timeout));
        self.phase.replace(Phase::Waiting);
        let won = blocking::wait(py, look, |go_on| request.blocking_while(go_on));
        self.phase.replace(Phase::Idle);
        self.hold(Held::new(Hold::All(won?), owner));
        Ok(())
    }

    /// What is to be asked while this thread waits for the guard.
    fn look(
        &self,
        py: Python<'_>,
        owner: Option<&Py<OwnerObject>>,
        timeout: Timeout,
        stops: Option<Stops>,
    ) -> PyResult<Option<Look>> {
        let stops = match stops {
            // A plain thread, perhaps one that works for somebody who awaits it.
            None | Some(Stops::Greenlets { asks_one: false }) if !timeout.ends_at_once() => {
                in_the_way::executors_call(py)?.map(Stops::Caller).or(stops)
            }
            stops => stops,
        };
        let (Some(stops), Some(owner)) = (stops, owner) else { return Ok(None) };
        self.look_for(py, owner, stops, false).map(Some)
    }

    pub(super) fn look_for(
        &self,
        py: Python<'_>,
        owner: &Py<OwnerObject>,
        stops: Stops,
        upgrading: bool,
    ) -> PyResult<Look> {
        let wanted = match &self.target {
            Target::One { name, mode } => {
                let mode = if upgrading { Mode::Write } else { *mode };
                vec![(name.bind(py).to_str()?.to_owned(), mode)]
            }
            Target::All(wanted) => wanted.clone(),
        };
        let (guard, me) = (self.to_string(), owner.get().owner().id());
        Ok(Look { locks: self.locks, guard, wanted, me, stops, upgrading, looked: None })
    }
}

/// Waits while the hub of gevent or eventlet runs other greenlets.
pub(super) fn wait_in_greenlet(object: &Bound<'_, PyAny>, waiter: Waiter) -> PyResult<()> {
    let py = object.py();
    let readiness = Bound::new(py, Readiness::new(object, waiter)?)?;
    py.import("concurrent_locks._greenlets")?.call_method1(string!(py, wait), (readiness,)).map(drop)
}
