//! Who asks. An owner is the current task, else the thread; or a name that the caller gives.
//!
//! - **O1** A task is known by its address. Its entry goes, by a weak reference's callback, before the
//!   address can be another task's.
//! - **O2** An owner is used only in the process that made it: a forked child makes its own, else what
//!   the parent holds would be re-entered by the child.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use concurrent_locks::{LockManager, MAX_LABEL_BYTES, Owner};
use pyo3::{
    intern,
    prelude::*,
    types::{PyString, PyWeakrefReference},
};

use crate::{context::Context, error::OrRaise, fork, manager::Manager};

/// Who a guard asks for.
pub(crate) enum Asker {
    /// Whoever enters the guard.
    Current,
    /// Whoever enters the guard, shown under another name.
    Requester(String),
    /// All who give this name together.
    Named(Arc<Owner>),
    /// Nobody else: an owner of its own per request.
    Nobody,
}

impl Asker {
    /// The label, where it was given.
    pub(crate) fn label(&self) -> Option<&str> {
        match self {
            Asker::Requester(label) => Some(label),
            Asker::Named(owner) => Some(owner.label()),
            Asker::Current | Asker::Nobody => None,
        }
    }

    /// The owner; `None` for a request that is an owner of its own.
    pub(crate) fn owner(
        &self,
        py: Python<'_>,
        locks: &LockManager,
        context: &Context<'_>,
    ) -> PyResult<Option<Arc<Owner>>> {
        let shown_as = match self {
            Asker::Named(owner) => return Ok(Some(Arc::clone(owner))),
            Asker::Nobody => return Ok(None),
            Asker::Current => None,
            Asker::Requester(label) => Some(label.as_str()),
        };
        match context {
            Context::Task { task, .. } => of_task(task, intern!(py, "get_name"), locks, shown_as).map(Some),
            Context::Trio { task } => of_task(task, intern!(py, "name"), locks, shown_as).map(Some),
            Context::Thread => of_thread(py, locks, shown_as).map(Some),
            Context::Callback { .. } => shown_as.map(|label| make(py, locks, label)).transpose(),
        }
    }
}

/// The owners of one task or thread: its own, and those it is shown as.
#[derive(Clone)]
struct Owners {
    epoch: u64,
    own: Arc<Owner>,
    shown_as: Vec<Arc<Owner>>,
}

impl Owners {
    fn new(own: Arc<Owner>) -> Owners {
        Owners { epoch: fork::epoch(), own, shown_as: Vec::new() }
    }

    fn find(&self, shown_as: Option<&str>) -> Option<Arc<Owner>> {
        if self.epoch != fork::epoch() {
            return None;
        }
        match shown_as {
            None => Some(&self.own),
            Some(label) => self.shown_as.iter().find(|owner| owner.label() == cut(label)),
        }
        .map(Arc::clone)
    }
}

struct Entry {
    owners: Owners,
    /// The weak reference whose callback removes the entry.
    _watch: Py<PyAny>,
}

type Tasks = Mutex<HashMap<usize, Entry>>;

static TASKS: LazyLock<Tasks> = LazyLock::new(Mutex::default);

thread_local! {
    static THREAD: RefCell<Option<Owners>> = const { RefCell::new(None) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_task(
    task: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    locks: &LockManager,
    shown_as: Option<&str>,
) -> PyResult<Arc<Owner>> {
    let address = task.as_ptr() as usize;
    if let Some(owner) = lock(&TASKS).get(&address).and_then(|entry| entry.owners.find(shown_as)) {
        return Ok(owner);
    }
    let py = task.py();
    let known = lock(&TASKS).get(&address).map(|entry| entry.owners.clone());
    let (owner, owners) = with_new(py, locks, known, shown_as, || {
        let name = task.getattr(name)?;
        Ok(if name.is_callable() { name.call0()? } else { name }.str()?.to_string())
    })?;
    let watch = PyWeakrefReference::new_with(task, Py::new(py, Forget { address })?)?;
    let entry = Entry { owners, _watch: watch.into_any().unbind() };
    let old = lock(&TASKS).insert(address, entry);
    // The old weak reference goes here, when nothing is locked (G2); its callback goes with it.
    drop(old);
    Ok(owner)
}

fn of_thread(py: Python<'_>, locks: &LockManager, shown_as: Option<&str>) -> PyResult<Arc<Owner>> {
    let known = THREAD.with_borrow(|owners| owners.as_ref().map(|owners| (owners.find(shown_as), owners.clone())));
    let known = match known {
        Some((Some(owner), _)) => return Ok(owner),
        Some((None, owners)) => Some(owners),
        None => None,
    };
    let (owner, owners) = with_new(py, locks, known, shown_as, || {
        let thread = py.import("threading")?.call_method0("current_thread")?;
        Ok(thread.getattr("name")?.str()?.to_string())
    })?;
    THREAD.set(Some(owners));
    Ok(owner)
}

/// The owners that are known (of this process, O2), and the one that was looked for and is not among them.
fn with_new(
    py: Python<'_>,
    locks: &LockManager,
    known: Option<Owners>,
    shown_as: Option<&str>,
    name: impl FnOnce() -> PyResult<String>,
) -> PyResult<(Arc<Owner>, Owners)> {
    let mut owners = match known.filter(|owners| owners.epoch == fork::epoch()) {
        Some(owners) => owners,
        None => Owners::new(make(py, locks, &name()?)?),
    };
    let owner = match shown_as {
        None => Arc::clone(&owners.own),
        Some(label) => {
            let owner = make(py, locks, label)?;
            owners.shown_as.push(Arc::clone(&owner));
            owner
        }
    };
    Ok((owner, owners))
}

/// The callback of a task's weak reference.
#[pyclass(frozen)]
struct Forget {
    address: usize,
}

#[pymethods]
impl Forget {
    fn __call__(&self, _reference: &Bound<'_, PyAny>) {
        let entry = lock(&TASKS).remove(&self.address);
        // Dropped when nothing is locked (G2).
        drop(entry);
    }
}

/// The owner of all who give this name; kept as long as somebody may hold a lock under it.
pub(crate) fn named(py: Python<'_>, locks: &LockManager, label: &str) -> PyResult<Arc<Owner>> {
    /// Beyond this many, names that nobody uses are forgotten.
    const KEPT: usize = 1024;
    static NAMED: LazyLock<Mutex<HashMap<String, (u64, Arc<Owner>)>>> = LazyLock::new(Mutex::default);
    let epoch = fork::epoch();
    if let Some((made_in, owner)) = lock(&NAMED).get(label)
        && *made_in == epoch
    {
        return Ok(Arc::clone(owner));
    }
    let owner = locks.owner(label).or_raise(py)?;
    let owner = Arc::new(owner);
    let mut named = lock(&NAMED);
    if named.len() >= KEPT {
        named.retain(|_, (_, owner)| Arc::strong_count(owner) > 1);
    }
    named.insert(label.to_owned(), (epoch, Arc::clone(&owner)));
    Ok(owner)
}

fn make(py: Python<'_>, locks: &LockManager, label: &str) -> PyResult<Arc<Owner>> {
    let label: String = cut(label).chars().filter(|c| *c != '\0').collect();
    let label = if label.is_empty() { "unnamed" } else { &label };
    locks.owner(label).or_raise(py).map(Arc::new)
}

/// As much of a name as a label can be.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_LABEL_BYTES)]
}

/// The id of the owner that a request would have now, `None` if it would be an owner of its own.
#[pyfunction]
#[pyo3(signature = (manager, label, /))]
pub(crate) fn current_owner(py: Python<'_>, manager: &Manager, label: Option<&str>) -> PyResult<Option<String>> {
    let asker = match label {
        Some(label) => Asker::Named(named(py, manager.locks(), label)?),
        None => Asker::Current,
    };
    let owner = asker.owner(py, manager.locks(), &Context::current(py)?)?;
    Ok(owner.map(|owner| owner.id()))
}
