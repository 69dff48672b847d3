//! How long the waiting requests of this process were told to wait, for
//! `LockManager.detect_deadlocks`: the engine knows deadlines, not time-outs.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use pyo3::prelude::*;

use crate::timeout::Timeout;

/// An owner's id and a lock's name.
type Key = (String, String);

static TOLD: LazyLock<Mutex<HashMap<Key, Timeout>>> = LazyLock::new(Mutex::default);

fn told() -> MutexGuard<'static, HashMap<Key, Timeout>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that waits, as long as this lives.
pub(crate) struct Told(Key);

impl Told {
    pub(crate) fn new(owner: String, name: String, timeout: Timeout) -> Told {
        let key = (owner, name);
        told().insert(key.clone(), timeout);
        Told(key)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        told().remove(&self.0);
    }
}

/// The timeout in seconds of a request of this process that waits; `None` for ever, or if it is another's.
#[pyfunction]
#[pyo3(signature = (owner, name, /))]
pub(crate) fn waiting_timeout(owner: String, name: String) -> Option<f64> {
    match told().get(&(owner, name))? {
        Timeout::For(time) => Some(time.as_secs_f64()),
        Timeout::Try | Timeout::Forever => None,
    }
}
