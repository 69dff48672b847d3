//! `LockManager`: the native half. Makes guards, and inspects the locks.
//!
//! What is looked at goes to Python as JSON text, in the shapes of `docs/json.md`. It is looked at without
//! the GIL: it may be a server that answers.

use std::{cell::RefCell, time::Duration};

use concurrent_locks::{LockManager, Mode};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyString};

use crate::{
    error::{self, OrRaise},
    guard::{Guard, Phase, Target, object},
    owner::{self, Asker},
    timeout::{Given, Timeout},
};

/// The locks one URL names.
#[pyclass(frozen, subclass, module = "concurrent_locks._core")]
pub(crate) struct Manager {
    /// Lives as long as the process, like the engine behind it: guards need not count references.
    locks: &'static LockManager,
}

impl Manager {
    pub(crate) fn locks(&self) -> &'static LockManager {
        self.locks
    }
}

/// The defaults of the package: `DEFAULT_READ_TIMEOUT` and `DEFAULT_WRITE_TIMEOUT`.
const READ_TIMEOUT: Timeout = Timeout::For(Duration::from_secs(10));
const WRITE_TIMEOUT: Timeout = Timeout::For(Duration::from_secs(30));

#[inline]
pub(crate) fn default_timeout(mode: Mode) -> Timeout {
    match mode {
        Mode::Read => READ_TIMEOUT,
        Mode::Write => WRITE_TIMEOUT,
    }
}

/// A guard for one lock, owned by the caller that enters it.
#[inline]
pub(crate) fn simple_guard<'py>(
    manager: &Bound<'py, Manager>,
    name: Bound<'py, PyString>,
    mode: Mode,
    timeout: Timeout,
) -> PyResult<Bound<'py, PyAny>> {
    guard(manager, Target::One { name: name.unbind(), mode }, Asker::Current, timeout, 0, None, None)
}

/// `priority=`: seconds.
struct Priority(i8);

impl<'py> FromPyObject<'_, 'py> for Priority {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let seconds: i64 = value.extract()?;
        i8::try_from(seconds)
            .map(Priority)
            .map_err(|_| PyValueError::new_err(format!("priority must be -128 to 127 seconds, not {seconds}")))
    }
}

/// `max_hold=`: seconds.
struct MaxHold(Duration);

impl<'py> FromPyObject<'_, 'py> for MaxHold {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let seconds: f64 = value.extract()?;
        let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
        time.map(MaxHold)
            .ok_or_else(|| PyValueError::new_err(format!("max_hold must be more than 0 seconds, not {seconds}")))
    }
}

impl Manager {
    /// The requester: the name given, else who will enter the guard.
    fn asker(&self, owner: Option<Bound<'_, PyString>>) -> PyResult<Asker> {
        let Some(label) = owner else { return Ok(Asker::Current) };
        owner::check_label(label.py(), self.locks, &label)?;
        Ok(Asker::Named(label.unbind()))
    }
}

#[inline(always)]
fn guard<'py>(
    manager: &Bound<'py, Manager>,
    target: Target,
    asker: Asker,
    timeout: Timeout,
    priority: i8,
    note: Option<Bound<'py, PyString>>,
    max_hold: Option<Duration>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = manager.py();
    let guard = Guard {
        locks: manager.get().locks,
        target,
        asker,
        timeout,
        priority,
        note: note.map(Bound::unbind),
        max_hold,
        phase: RefCell::new(Phase::Idle),
    };
    object::new(py, guard)
}

/// A guard of one lock, with the mode's own timeout where none is given.
#[expect(clippy::too_many_arguments, reason = "the parameters of `read_lock` and `write_lock`")]
fn one<'py>(
    manager: &Bound<'py, Manager>,
    resource_name: Bound<'py, PyString>,
    mode: Mode,
    asker: Asker,
    timeout: &Given<'py>,
    priority: Priority,
    note: Option<Bound<'py, PyString>>,
    max_hold: Option<MaxHold>,
) -> PyResult<Bound<'py, PyAny>> {
    let target = Target::One { name: resource_name.unbind(), mode };
    guard(manager, target, asker, timeout.timeout(default_timeout(mode))?, priority.0, note, max_hold.map(|it| it.0))
}

#[pymethods]
impl Manager {
    #[new]
    fn new(py: Python<'_>, url: &str) -> PyResult<Manager> {
        Ok(Manager { locks: Box::leak(Box::new(py.detach(|| LockManager::connect(url).blocking()).or_raise(py)?)) })
    }

    /// The engine's URL, in full.
    #[getter]
    fn url(&self) -> &str {
        self.locks.url()
    }

    /// Whether other processes meet these locks.
    #[getter]
    fn across_processes(&self) -> bool {
        self.locks.capabilities().across_processes
    }

    /// `read_lock` with all arguments: see `lock_methods.rs`.
    #[pyo3(name = "_lock_for_reading")]
    #[pyo3(signature = (resource_name, timeout = Given::No, *, priority = Priority(0), owner = None, note = None, max_hold = None))]
    fn lock_for_reading<'py>(
        slf: Bound<'py, Self>,
        resource_name: Bound<'py, PyString>,
        timeout: Given<'py>,
        priority: Priority,
        owner: Option<Bound<'py, PyString>>,
        note: Option<Bound<'py, PyString>>,
        max_hold: Option<MaxHold>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asker = slf.get().asker(owner)?;
        one(&slf, resource_name, Mode::Read, asker, &timeout, priority, note, max_hold)
    }

    /// `write_lock` with all arguments: see `lock_methods.rs`.
    #[pyo3(name = "_lock_for_writing")]
    #[pyo3(signature = (resource_name, timeout = Given::No, *, priority = Priority(0), owner = None, note = None, max_hold = None))]
    fn lock_for_writing<'py>(
        slf: Bound<'py, Self>,
        resource_name: Bound<'py, PyString>,
        timeout: Given<'py>,
        priority: Priority,
        owner: Option<Bound<'py, PyString>>,
        note: Option<Bound<'py, PyString>>,
        max_hold: Option<MaxHold>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asker = slf.get().asker(owner)?;
        one(&slf, resource_name, Mode::Write, asker, &timeout, priority, note, max_hold)
    }

    /// A guard that is shown under the requester's name, but belongs to the caller that enters it.
    #[pyo3(name = "_lock_shown_as")]
    fn lock_shown_as<'py>(
        slf: Bound<'py, Self>,
        resource_name: Bound<'py, PyString>,
        write: bool,
        timeout: Given<'py>,
        requester: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mode = if write { Mode::Write } else { Mode::Read };
        one(&slf, resource_name, mode, Asker::Requester(requester.into()), &timeout, Priority(0), None, None)
    }

    /// A guard for writing that re-enters nothing, because it is an owner of its own.
    #[pyo3(name = "_lock_alone")]
    fn lock_alone<'py>(
        slf: Bound<'py, Self>,
        resource_name: Bound<'py, PyString>,
        timeout: Given<'py>,
        priority: Priority,
        note: Option<Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        one(&slf, resource_name, Mode::Write, Asker::Nobody, &timeout, priority, note, None)
    }

    /// A guard over several locks: names, and whether to write.
    #[pyo3(name = "_lock_several")]
    fn lock_several<'py>(
        slf: Bound<'py, Self>,
        wanted: Vec<(String, bool)>,
        timeout: Given<'py>,
        priority: Priority,
        owner: Option<Bound<'py, PyString>>,
        note: Option<Bound<'py, PyString>>,
        max_hold: Option<MaxHold>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mode = |write| if write { Mode::Write } else { Mode::Read };
        let target = Target::All(wanted.into_iter().map(|(name, write)| (name, mode(write))).collect());
        let asker = slf.get().asker(owner)?;
        guard(&slf, target, asker, timeout.timeout(WRITE_TIMEOUT)?, priority.0, note, max_hold.map(|it| it.0))
    }

    /// `locks status --json`.
    #[pyo3(name = "_status_json")]
    fn status_json(&self, py: Python<'_>, name: Option<&str>) -> PyResult<String> {
        let all = match name {
            None => py.detach(|| self.locks.status_all().blocking()).or_raise(py)?,
            Some(name) => py
                .detach(|| self.locks.status(name).blocking())
                .or_raise(py)?
                .map(|one| (name.to_owned(), one))
                .into_iter()
                .collect(),
        };
        error::json(&all)
    }

    /// `locks stats --json`; with a name, its statistics by mode.
    #[pyo3(name = "_statistics_json")]
    fn statistics_json(&self, py: Python<'_>, name: Option<&str>) -> PyResult<String> {
        match name {
            None => error::json(&py.detach(|| self.locks.statistics_all().blocking()).or_raise(py)?),
            Some(name) => error::json(&py.detach(|| self.locks.statistics(name).blocking()).or_raise(py)?),
        }
    }

    /// Forgets counters.
    #[pyo3(name = "_forget_statistics")]
    fn forget_statistics(&self, py: Python<'_>, name: Option<&str>) -> PyResult<()> {
        py.detach(|| self.locks.reset_statistics(name).blocking()).or_raise(py)
    }

    /// `locks deadlocks --json`, suspecting waits longer than so many seconds.
    #[pyo3(name = "_deadlocks_json")]
    fn deadlocks_json(&self, py: Python<'_>, suspect_after: f64) -> PyResult<String> {
        let suspect_after = match Timeout::seconds(suspect_after)? {
            Timeout::Try => Duration::ZERO,
            Timeout::For(time) => time,
            Timeout::Forever => Duration::MAX,
        };
        let locks = self.locks.clone().with_settings(self.locks.settings().suspect_after(suspect_after));
        error::json(&py.detach(|| locks.deadlocks().blocking()).or_raise(py)?)
    }

    /// `locks watch --json`: events from a cursor on, and the next cursor. Waits without the GIL.
    #[pyo3(name = "_events_json")]
    fn events_json(&self, py: Python<'_>, cursor: Option<u64>, wait: f64) -> PyResult<(String, u64)> {
        let wait = Duration::try_from_secs_f64(wait).unwrap_or_default();
        let (events, next) = py.detach(|| self.locks.events(cursor, wait).blocking()).or_raise(py)?;
        Ok((error::json(&events)?, next))
    }

    /// `locks break --json`: who held it.
    #[pyo3(name = "_break_lock_json")]
    fn break_lock_json(&self, py: Python<'_>, name: &str, token: u64) -> PyResult<String> {
        error::json(&py.detach(|| self.locks.break_lock(name, token).blocking()).or_raise(py)?)
    }

    /// `locks doctor --json`.
    #[pyo3(name = "_health_json")]
    fn health_json(&self, py: Python<'_>) -> PyResult<String> {
        error::json(&py.detach(|| self.locks.health().blocking()).or_raise(py)?)
    }
}
