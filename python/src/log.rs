//! The logger `concurrent_locks`: DEBUG when a request has to wait, WARNING when it fails. Nothing is
//! logged where nothing waits.

use pyo3::{intern, prelude::*, sync::PyOnceLock};

static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

const DEBUG: u8 = 10;
const WARNING: u8 = 30;

fn logger(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let make = || py.import("logging")?.call_method1("getLogger", ("concurrent_locks",)).map(Bound::unbind);
    LOGGER.get_or_try_init(py, make).map(|logger| logger.bind(py))
}

fn log(py: Python<'_>, level: u8, text: impl FnOnce() -> String) -> PyResult<()> {
    let logger = logger(py)?;
    if logger.call_method1(intern!(py, "isEnabledFor"), (level,))?.is_truthy()? {
        logger.call_method1(intern!(py, "log"), (level, "%s", text()))?;
    }
    Ok(())
}

pub(crate) fn debug(py: Python<'_>, text: impl FnOnce() -> String) -> PyResult<()> {
    log(py, DEBUG, text)
}

pub(crate) fn warning(py: Python<'_>, text: impl FnOnce() -> String) -> PyResult<()> {
    log(py, WARNING, text)
}
