//! The crate's errors as Python's: `concurrent_locks.errors` has the classes, and chooses among them.

use concurrent_locks::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::{home, log, made::string};

/// The word by which `errors.from_core` knows a kind.
fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TimedOut => "timed_out",
        ErrorKind::WouldBlock => "would_block",
        ErrorKind::Deadlock => "deadlock",
        ErrorKind::Lost => "lost",
        ErrorKind::Closed => "closed",
        ErrorKind::Full => "full",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::InvalidName => "invalid_name",
        ErrorKind::InvalidInput => "invalid_input",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::Permission => "permission",
        _ => "other",
    }
}

/// The Python exception that says the same.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).map_or_else(|broken| broken, PyErr::from_value)
}

fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let message = error.to_string();
    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Deadlock) {
        log::warning(py, || message.clone())?;
    }
    let message = message.replace("LockManager::status", "LockManager.status") + &of_this_process(py, error);
    let (holders, position, waited) = match error.busy() {
        None => (None, None, 0.0),
        Some(busy) => (Some(json(&busy.holders)?), busy.position, busy.waited.as_secs_f64()),
    };
    let cycle = error.cycle().map(|cycle| json(&cycle.links)).transpose()?;
    let mode = error.mode().map(|mode| mode.as_str());
    let errors = py.import("concurrent_locks.errors")?;
    errors.call_method1(
        string!(py, from_core),
        (word(error.kind()), message, error.resource(), mode, holders, position, waited, cycle),
    )
}

/// What to add for holders that are of this very process: their pids say it to attentive readers only.
fn of_this_process(py: Python<'_>, error: &Error) -> String {
    let holders = error.busy().into_iter().flat_map(|busy| &busy.holders);
    let ours = holders.filter_map(|holder| {
        let home = home::of(py, holder.owner?).pop()?;
        Some(format!("; {} is {} of this process", holder.label, home.kind.text()))
    });
    ours.take(3).collect()
}

/// What Python reads with `json.loads`: the shapes of `docs/json.md`.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))
}

/// `?` from the crate's results to Python's.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}
