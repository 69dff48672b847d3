//! The logger `concurrent_locks`: DEBUG when a request has to wait, WARNING when it fails. Nothing is
//! logged where nothing waits.

use pyo3::prelude::*;

use crate::made::made;

pub(crate) struct Logger {
    is_enabled_for: Py<PyAny>,
    log: Py<PyAny>,
}

const DEBUG: u8 = 10;
const WARNING: u8 = 30;

impl Logger {
    pub(crate) fn find(py: Python<'_>) -> PyResult<Logger> {
        let logger = py.import("logging")?.call_method1("getLogger", ("concurrent_locks",))?;
        let is_enabled_for = logger.getattr("isEnabledFor")?.unbind();
        Ok(Logger { is_enabled_for, log: logger.getattr("log")?.unbind() })
    }
}

fn log(py: Python<'_>, level: u8, text: impl FnOnce() -> String) -> PyResult<()> {
    let logger = &made(py).logger;
    if logger.is_enabled_for.bind(py).call1((level,))?.is_truthy()? {
        logger.log.bind(py).call1((level, "%s", text()))?;
    }
    Ok(())
}

pub(crate) fn debug(py: Python<'_>, text: impl FnOnce() -> String) -> PyResult<()> {
    log(py, DEBUG, text)
}

pub(crate) fn warning(py: Python<'_>, text: impl FnOnce() -> String) -> PyResult<()> {
    log(py, WARNING, text)
}
