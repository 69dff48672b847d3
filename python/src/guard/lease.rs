//! How a guard reports its end: its lease, whether it still holds, and its loss.

use std::sync::{Mutex, PoisonError, mpsc};

use concurrent_locks::{Error, Standing};
use pyo3::prelude::*;

use super::object;
use crate::{blocking, error, pending::Hold};

/// Length, what is left, and whether it is in danger, of the lease that ends first; `None` without a lease.
#[pyfunction]
pub(crate) fn guard_lease(object: &Bound<'_, PyAny>) -> PyResult<Option<(f64, f64, bool)>> {
    object::of(object)?.with_held(|held| {
        let leases = held.hold.guards().iter().filter_map(|guard| guard.lease());
        let first = leases.min_by_key(|lease| lease.remaining);
        Ok(first.map(|lease| (lease.length.as_secs_f64(), lease.remaining.as_secs_f64(), lease.in_danger)))
    })
}

/// How it stands, asked of the server where there is one. Waits on this thread, without the GIL.
#[pyfunction]
pub(crate) fn guard_verify(object: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    if object::of(object)?.is_parents() {
        return Ok("lost");
    }
    let (sender, answer) = mpsc::channel();
    let tell = move |standing| {
        // A caller interrupted by Ctrl-C waits no more.
        let _ = sender.send(standing);
    };
    object::of(object)?.with_held(|held| {
        match &held.hold {
            Hold::Bare(_) => unreachable!("`with_held` settles it"),
            Hold::One(guard) => guard.verify().tell(tell),
            Hold::All(guards) => guards.verify().tell(tell),
        }
        Ok(())
    })?;
    let standing = blocking::wait(object.py(), None, move |go_on| {
        loop {
            match answer.recv_timeout(blocking::SLICE) {
                Ok(standing) => return Ok(Some(standing)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Some(Standing::Unknown)),
                Err(mpsc::RecvTimeoutError::Timeout) if go_on() => {}
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
            }
        }
    })?;
    Ok(match standing {
        Standing::Renewed => "renewed",
        Standing::Held => "held",
        Standing::Lost => "lost",
        _ => "unknown",
    })
}

/// The news of losses, for one thread of Python's to wait for. Whoever brings them needs no GIL.
#[pyclass(frozen, module = "concurrent_locks._core")]
pub(crate) struct Losses {
    sender: mpsc::Sender<News>,
    receiver: Mutex<mpsc::Receiver<News>>,
}

/// The number of a watch, and the loss; no loss if there will be none any more.
type News = (u64, Option<Error>);

#[pymethods]
impl Losses {
    #[new]
    fn new() -> Losses {
        let (sender, receiver) = mpsc::channel();
        Losses { sender, receiver: Mutex::new(receiver) }
    }

    /// Waits for news: the number of a watch, which has ended, and the `LockLostError` if there is one.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<(u64, Option<Bound<'py, PyAny>>)> {
        let news = py.detach(|| self.receiver.lock().unwrap_or_else(PoisonError::into_inner).recv());
        let (number, loss) = news.unwrap_or_else(|_| unreachable!("a sender is kept beside it"));
        Ok((number, loss.map(|loss| error::raise(py, &loss).into_value(py).into_bound(py).into_any())))
    }

    /// Watches what a guard holds until it is lost or released; the news come under this number.
    fn watch(&self, object: &Bound<'_, PyAny>, number: u64) -> PyResult<()> {
        let bell = Bell { sender: self.sender.clone(), number, loss: None };
        let tell = move |loss| bell.ring(loss);
        object::of(object)?.with_held(|held| {
            match &held.hold {
                Hold::Bare(_) => unreachable!("`with_held` settles it"),
                Hold::One(guard) => guard.on_lost(tell),
                Hold::All(guards) => guards.on_lost(tell),
            }
            Ok(())
        })
    }
}

/// Rings when it is dropped: after the loss, or with the guard.
struct Bell {
    sender: mpsc::Sender<News>,
    number: u64,
    loss: Option<Error>,
}

impl Bell {
    fn ring(mut self, loss: Error) {
        self.loss = Some(loss);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // The thread that waits may be gone: at the end of the interpreter.
        let _ = self.sender.send((self.number, self.loss.take()));
    }
}
