//! The functions behind the methods of `concurrent_locks.Guard`.

use pyo3::{
    exceptions::{PyTimeoutError, PyValueError},
    prelude::*,
};

use super::{Guard, Target, free::Tried, object};
use crate::{
    context::Context,
    made::string,
    owner::OwnerObject,
    pending::Waiter,
    readiness::Readiness,
    timeout::{Given, Timeout},
    waiting::Waiting,
};

/// What `await guard` iterates: the guard, if the lock was free and is taken, else the wait for it.
#[inline]
pub(crate) fn enter_async<'py>(object: &Bound<'py, PyAny>, guard: &Guard) -> PyResult<Bound<'py, PyAny>> {
    match guard.take_free(object.py()) {
        Tried::Taken => Ok(object.clone()),
        Tried::Busy(owner) => enter_async_slowly(object, guard, Some(owner)),
        Tried::Unusual => enter_async_slowly(object, guard, None),
    }
}

/// The caller is not known yet, or has to wait, or is refused.
#[cold]
fn enter_async_slowly<'py>(
    object: &Bound<'py, PyAny>,
    guard: &Guard,
    asks: Option<Py<OwnerObject>>,
) -> PyResult<Bound<'py, PyAny>> {
    // So that PyO3 knows that the GIL is held.
    Python::attach(|_| {
        let py = object.py();
        let awaitable = match asks {
            Some(owner) => match guard.begin_as(py, guard.timeout, Some(owner))? {
                None => return Ok(object.clone()),
                Some(waiter) => {
                    let context = Context::current(py).inspect_err(|_| guard.left(&waiter.pending))?;
                    wait(object, guard, waiter, context)?
                }
            },
            None => begin_async(object, guard, guard.timeout)?,
        };
        if awaitable.is(object) || awaitable.is_exact_instance_of::<Waiting>() {
            return Ok(awaitable); // It is its own iterator.
        }
        awaitable.call_method0(string!(py, await_))
    })
}

/// Takes the lock and answers with the guard, if it is free; else with an awaitable.
fn begin_async<'py>(object: &Bound<'py, PyAny>, guard: &Guard, timeout: Timeout) -> PyResult<Bound<'py, PyAny>> {
    let context = Context::current(object.py())?;
    if matches!(context, Context::Trio { .. }) {
        return trio(object.py())?.call_method1(string!(object.py(), enter), (object, timeout.to_seconds()));
    }
    match guard.begin(object.py(), timeout, &context)? {
        None => Ok(object.clone()),
        Some(waiter) => wait(object, guard, waiter, context),
    }
}

/// An awaitable: the wait in the event loop that runs here.
#[cold]
fn wait<'py>(
    object: &Bound<'py, PyAny>,
    guard: &Guard,
    waiter: Waiter,
    context: Context<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    match context {
        Context::Task { event_loop, .. } | Context::Callback { event_loop } => {
            Bound::new(py, Waiting::new(object, waiter, event_loop)?).map(Bound::into_any)
        }
        Context::Trio { .. } => {
            let readiness = Readiness::new(object, waiter)?;
            trio(py)?.call_method1(string!(py, wait), (readiness, object))
        }
        Context::Thread | Context::Greenlet { .. } => {
            guard.left(&waiter.pending);
            let errors = py.import("concurrent_locks.errors")?;
            let text =
                format!("{guard} is busy, and can be waited for in asyncio and trio only, which do not run here");
            Err(PyErr::from_value(errors.getattr("UnsupportedError")?.call1((text,))?))
        }
    }
}

fn trio(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("concurrent_locks._trio")
}

/// Takes the lock (`None`) or joins the queue; then returns what signals when to check.
#[pyfunction]
pub(crate) fn guard_begin(object: &Bound<'_, PyAny>, timeout: Given<'_>) -> PyResult<Option<Readiness>> {
    let guard = object::of(object)?;
    let context = Context::current(object.py())?;
    let waiter = guard.begin(object.py(), timeout.timeout(guard.timeout)?, &context)?;
    waiter.map(|waiter| Readiness::new(object, waiter)).transpose()
}

/// A function that holds what a guard is for while it runs.
#[cold]
pub(crate) fn decorate<'py>(object: &Bound<'py, PyAny>, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    object.py().import("concurrent_locks.decorators")?.call_method1("holding", (object, function))
}

/// Another guard for the same request.
#[pyfunction]
pub(crate) fn guard_copy<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let copy = object::of(object)?.copy(object.py());
    object::new(object.py(), copy)
}

/// `True` if it came, `False` if it timed out.
fn in_time(py: Python<'_>, result: PyResult<()>) -> PyResult<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_instance_of::<PyTimeoutError>(py) => Ok(false),
        Err(error) => Err(error),
    }
}

#[pyfunction]
pub(crate) fn guard_acquire(object: &Bound<'_, PyAny>, blocking: bool, timeout: Given<'_>) -> PyResult<bool> {
    let guard = object::of(object)?;
    let timeout = match (blocking, &timeout) {
        (true, given) => given.timeout(guard.timeout)?,
        (false, given) => match given.timeout(Timeout::Try)? {
            Timeout::For(time) if !time.is_zero() => {
                return Err(PyValueError::new_err("a non-blocking acquire takes no timeout"));
            }
            _ => Timeout::Try,
        },
    };
    in_time(object.py(), guard.enter(object, timeout))
}

/// An awaitable of the guard.
#[pyfunction]
pub(crate) fn guard_acquiring<'py>(object: &Bound<'py, PyAny>, timeout: Given<'_>) -> PyResult<Bound<'py, PyAny>> {
    let guard = object::of(object)?;
    begin_async(object, guard, timeout.timeout(guard.timeout)?)
}

#[pyfunction]
pub(crate) fn guard_release(object: &Bound<'_, PyAny>) -> PyResult<()> {
    object::of(object)?.release(object.py())
}

#[pyfunction]
pub(crate) fn guard_locked(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object::of(object)?.is_held())
}

#[pyfunction]
pub(crate) fn guard_tokens(object: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    object::of(object)?.with_held(|held| Ok(held.hold.guards().iter().map(|guard| guard.token()).collect()))
}

/// Seconds that the longest wait of its requests took.
#[pyfunction]
pub(crate) fn guard_waited(object: &Bound<'_, PyAny>) -> PyResult<f64> {
    object::of(object)?.with_held(|held| {
        let waits = held.hold.guards().iter().map(|guard| guard.waited());
        Ok(waits.max().unwrap_or_default().as_secs_f64())
    })
}

/// Seconds since all of it is held.
#[pyfunction]
pub(crate) fn guard_held_for(object: &Bound<'_, PyAny>) -> PyResult<f64> {
    object::of(object)?.with_held(|held| {
        let holds = held.hold.guards().iter().map(|guard| guard.held_for());
        Ok(holds.min().unwrap_or_default().as_secs_f64())
    })
}

/// `read` or `write`: how it is held, else how it is asked for.
#[pyfunction]
pub(crate) fn guard_mode(object: &Bound<'_, PyAny>) -> PyResult<Option<&'static str>> {
    let guard = object::of(object)?;
    let Target::One { mode, .. } = &guard.target else { return Ok(None) };
    let held = guard.with_held(|held| Ok(held.hold.guards().first().map(|guard| guard.mode())));
    Ok(Some(held.ok().flatten().unwrap_or(*mode).as_str()))
}

/// What it is for: names and modes.
#[pyfunction]
pub(crate) fn guard_target(object: &Bound<'_, PyAny>) -> PyResult<Vec<(String, &'static str)>> {
    Ok(match &object::of(object)?.target {
        Target::One { name, mode } => vec![(name.bind(object.py()).to_str()?.to_owned(), mode.as_str())],
        Target::All(wanted) => wanted.iter().map(|(name, mode)| (name.clone(), mode.as_str())).collect(),
    })
}

/// The label of the owner that holds it, else of the one that would, if given.
#[pyfunction]
pub(crate) fn guard_owner(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let guard = object::of(object)?;
    let holder = guard.with_held(|held| Ok(held.owner.as_ref().map(|owner| owner.get().owner().label().to_owned())));
    holder.or_else(|_| guard.asker.label(object.py()))
}

#[pyfunction]
pub(crate) fn guard_upgrade(object: &Bound<'_, PyAny>, timeout: Given<'_>) -> PyResult<()> {
    let guard = object::of(object)?;
    guard.upgrade(object, timeout.timeout(guard.timeout)?)
}

/// An awaitable, `None` if it is done already.
#[pyfunction]
pub(crate) fn guard_upgrading<'py>(
    object: &Bound<'py, PyAny>,
    timeout: Given<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let guard = object::of(object)?;
    let waiter = guard.begin_upgrade(object.py(), timeout.timeout(guard.timeout)?)?;
    waiter.map(|waiter| wait(object, guard, waiter, Context::current(object.py())?)).transpose()
}

#[pyfunction]
pub(crate) fn guard_downgrade(object: &Bound<'_, PyAny>) -> PyResult<()> {
    object::of(object)?.downgrade(object.py())
}

/// Takes it as `with` does.
#[pyfunction]
pub(crate) fn guard_enter(object: &Bound<'_, PyAny>, timeout: Given<'_>) -> PyResult<()> {
    let guard = object::of(object)?;
    guard.enter(object, timeout.timeout(guard.timeout)?)
}
