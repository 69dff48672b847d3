//! `timeout=`: seconds in Python's conventions.

use std::{convert::Infallible, time::Duration};

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
};

/// How long a request is ready to wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Timeout {
    /// Not at all: a try that nobody counts.
    Try,
    /// `0` is one try.
    For(Duration),
    /// `None`, negative, or infinite.
    Forever,
}

/// Longer than this (30 years) is for ever.
const LONGEST: f64 = 1e9;

impl Timeout {
    pub(crate) fn seconds(seconds: f64) -> PyResult<Timeout> {
        if seconds.is_nan() {
            return Err(PyValueError::new_err("timeout is not a number (nan)"));
        }
        Ok(match seconds {
            _ if !(0.0..LONGEST).contains(&seconds) => Timeout::Forever,
            _ => Timeout::For(Duration::from_secs_f64(seconds)),
        })
    }

    /// As Python says it.
    pub(crate) fn to_seconds(self) -> Option<f64> {
        match self {
            Timeout::Try => Some(0.0),
            Timeout::For(time) => Some(time.as_secs_f64()),
            Timeout::Forever => None,
        }
    }

    /// Whether a request gives up at once.
    pub(crate) fn ends_at_once(self) -> bool {
        matches!(self, Timeout::Try | Timeout::For(Duration::ZERO))
    }

    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Timeout> {
        if value.is_none() {
            return Ok(Timeout::Forever);
        }
        let seconds: f64 = value.extract().map_err(|_| {
            PyTypeError::new_err(format!("timeout must be a number of seconds or None, not {}", kind_of(value)))
        })?;
        Timeout::seconds(seconds)
    }
}

fn kind_of(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string())
}

/// An argument that may be left out, where `None` means something.
pub(crate) enum Given<'py> {
    No,
    Yes(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Given<'py> {
    type Error = Infallible;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> Result<Self, Infallible> {
        Ok(if value.is(value.py().Ellipsis()) { Given::No } else { Given::Yes(value.to_owned()) })
    }
}

impl Given<'_> {
    /// The timeout, else the one to use when none is given.
    pub(crate) fn timeout(&self, otherwise: Timeout) -> PyResult<Timeout> {
        match self {
            Given::No => Ok(otherwise),
            Given::Yes(value) => Timeout::of(value),
        }
    }
}
