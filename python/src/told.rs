//! The time limits of the waiting requests of this process, for
//! `LockManager.detect_deadlocks`: the engine knows deadlines, not time-outs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use concurrent_locks::OwnerId;
use pyo3::prelude::*;

use crate::{guard::Target, owner::OwnerObject, timeout::Timeout};

/// The limit of one request.
struct Entry {
    owner: Py<OwnerObject>,
    names: Target,
    timeout: Timeout,
}

static TOLD: Mutex<BTreeMap<u64, Entry>> = Mutex::new(BTreeMap::new());

fn told() -> MutexGuard<'static, BTreeMap<u64, Entry>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that waits, as long as this lives.
pub(crate) struct Told(u64);

impl Told {
    pub(crate) fn new(owner: Py<OwnerObject>, names: Target, timeout: Timeout) -> Told {
        let mut told = told();
        let key = told.last_key_value().map_or(0, |(last, _)| last + 1);
        told.insert(key, Entry { owner, names, timeout });
        Told(key)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let entry = told().remove(&self.0);
        // Dropped when the map is free again (G2).
        drop(entry);
    }
}

/// The timeout in seconds of a request of this process that waits; `None` for ever, or if it is another's.
#[pyfunction]
#[pyo3(signature = (owner, name, /))]
pub(crate) fn waiting_timeout(py: Python<'_>, owner: &str, name: &str) -> Option<f64> {
    let owner: OwnerId = owner.parse().ok()?;
    let told = told();
    let entry = told.values().find(|entry| entry.names.has(py, name) && entry.owner.get().owner().id() == owner)?;
    entry.timeout.to_seconds()
}
