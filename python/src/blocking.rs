//! Waiting on a thread: without the GIL, and so that Ctrl-C works.

use std::time::Duration;

use concurrent_locks::Error;
use pyo3::prelude::*;

use crate::{
    error::OrRaise,
    in_the_way::Look,
    made::{made, string},
};

/// How long a sleep without a question may be.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Runs `wait` without the GIL. The question it is given must be asked between sleeps; it runs
/// Python's signal handlers and the look, and says no when one of them raised.
///
/// `wait` answers `None` if the answer was no.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    mut look: Option<Look>,
    wait: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<Option<T>, Error> + Send,
) -> PyResult<T> {
    // Only the main thread runs signal handlers.
    let handles_signals = on_main_thread(py)?;
    let mut raised = None;
    let result = py.detach(|| {
        wait(&mut || {
            if handles_signals || look.is_some() {
                raised = Python::attach(|py| {
                    py.check_signals()?;
                    look.as_mut().map_or(Ok(()), |look| look.look(py))
                })
                .err();
            }
            raised.is_none()
        })
    });
    match (result.or_raise(py)?, raised) {
        (Some(won), None) => Ok(won),
        // Granted and interrupted in the same instant: dropping `won` releases it.
        (_, Some(raised)) => Err(raised),
        (None, None) => unreachable!("the wait goes on until the question is answered with no"),
    }
}

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = made(py).threading.bind(py);
    let main = threading.call_method0(string!(py, main_thread))?.getattr(string!(py, ident))?;
    threading.call_method0(string!(py, get_ident))?.eq(main)
}
