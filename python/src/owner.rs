//! Owners. An owner is the current task or greenlet, else the thread; or a name that the caller gives.
//!
//! - **O1** A task or greenlet is known by its address. Its entry goes, by a weak reference's callback, before the
//!   address can be another one's.
//! - **O2** An owner is used only in the process that made it: a forked child makes its own, else what
//!   the parent holds would be re-entered by the child.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use concurrent_locks::{LockManager, MAX_LABEL_BYTES, Owner, OwnerId};
use pyo3::{
    prelude::*,
    types::{PyString, PyWeakrefMethods, PyWeakrefReference},
};

use crate::{
    context::{self, Context},
    error::OrRaise,
    fork,
    gil::GilCell,
    home::{self, Kind},
    known,
    made::made,
    manager::Manager,
};

/// An owner as a Python object, because Python counts references without atomic instructions.
#[pyclass(frozen, name = "Owner", module = "concurrent_locks._core")]
pub(crate) struct OwnerObject {
    owner: Owner,
    epoch: u64,
}

impl OwnerObject {
    fn make(py: Python<'_>, locks: &LockManager, label: &str, kind: Kind) -> PyResult<Py<OwnerObject>> {
        let label: String = cut(label).chars().filter(|c| *c != '\0').collect();
        let label = if label.is_empty() { "unnamed" } else { &label };
        OwnerObject::of(py, locks.owner(label).or_raise(py)?, kind)
    }

    fn of(py: Python<'_>, owner: Owner, kind: Kind) -> PyResult<Py<OwnerObject>> {
        home::moved_in(py, owner.id(), kind);
        Py::new(py, OwnerObject { owner, epoch: fork::epoch() })
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether this process made it (O2).
    fn is_ours(&self) -> bool {
        self.epoch == fork::epoch()
    }
}

impl Drop for OwnerObject {
    fn drop(&mut self) {
        // At the end of the interpreter nobody asks any more.
        Python::try_attach(|py| home::moved_out(py, self.owner.id()));
    }
}

/// Who a guard asks for.
pub(crate) enum Asker {
    /// The caller that enters the guard.
    Current,
    /// The caller that enters the guard, shown under another name.
    Requester(Box<str>),
    /// All callers that give this name, together.
    Named(Py<PyString>),
    /// The caller that enters the guard, as an owner of its own for this request.
    Nobody,
}

impl Asker {
    /// Drops it where PyO3 does not know that the GIL is held.
    #[inline]
    pub(crate) fn drop_ref(self, py: Python<'_>) {
        if let Asker::Named(label) = self {
            label.drop_ref(py);
        }
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Asker {
        match self {
            Asker::Current => Asker::Current,
            Asker::Requester(label) => Asker::Requester(label.clone()),
            Asker::Named(label) => Asker::Named(label.clone_ref(py)),
            Asker::Nobody => Asker::Nobody,
        }
    }

    /// The label, where it was given.
    pub(crate) fn label(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(match self {
            Asker::Requester(label) => Some(label.to_string()),
            Asker::Named(label) => Some(label.bind(py).to_str()?.to_owned()),
            Asker::Current | Asker::Nobody => None,
        })
    }

    /// The owner; `None` for a request that is an owner of its own.
    #[inline]
    pub(crate) fn owner(
        &self,
        py: Python<'_>,
        locks: &LockManager,
        context: &Context<'_>,
    ) -> PyResult<Option<Py<OwnerObject>>> {
        match (self, context) {
            (Asker::Current, Context::Task { task, .. }) => of_task(task, locks, None, Kind::Task).map(Some),
            (Asker::Current, Context::Thread) => of_thread(py, locks, None).map(Some),
            _ => self.rare_owner(py, locks, context),
        }
    }

    #[cold]
    fn rare_owner(
        &self,
        py: Python<'_>,
        locks: &LockManager,
        context: &Context<'_>,
    ) -> PyResult<Option<Py<OwnerObject>>> {
        let shown_as = match self {
            Asker::Named(label) => {
                return named(py, locks, label.bind(py).to_str()?, Kind::of(context)).map(Some);
            }
            Asker::Nobody => {
                let asks = Asker::Current.owner(py, locks, context)?;
                let asks = asks.as_ref().map_or("", |owner| owner.get().owner.label());
                return OwnerObject::make(py, locks, asks, Kind::of(context)).map(Some);
            }
            Asker::Current => None,
            Asker::Requester(label) => Some(&**label),
        };
        match context {
            Context::Task { task, .. } => of_task(task, locks, shown_as, Kind::Task).map(Some),
            Context::Trio { task } => of_task(task, locks, shown_as, Kind::TrioTask).map(Some),
            Context::Greenlet { greenlet } => of_task(greenlet, locks, shown_as, Kind::Greenlet).map(Some),
            Context::Thread => of_thread(py, locks, shown_as).map(Some),
            // Callbacks are nobody in particular: each request is an owner of its own.
            Context::Callback { .. } => {
                OwnerObject::make(py, locks, shown_as.unwrap_or("event loop callback"), Kind::Callback).map(Some)
            }
        }
    }
}

/// The owners of one task or thread: its own, and those it is shown as.
struct Owners {
    own: Py<OwnerObject>,
    shown_as: Vec<Py<OwnerObject>>,
}

impl Owners {
    /// An owner of this process (O2).
    #[inline]
    fn find(&self, py: Python<'_>, shown_as: Option<&str>) -> Option<Py<OwnerObject>> {
        if !self.own.get().is_ours() {
            return None;
        }
        match shown_as {
            None => Some(self.own.clone_ref(py)),
            Some(label) => self.find_shown_as(py, label),
        }
    }

    fn find_shown_as(&self, py: Python<'_>, label: &str) -> Option<Py<OwnerObject>> {
        let owner = self.shown_as.iter().find(|owner| owner.get().owner.label() == cut(label))?;
        Some(owner.clone_ref(py))
    }

    /// These, or new ones if they are another process's, and with them the owner that `find` did not find.
    fn with_new(
        known: Option<Owners>,
        py: Python<'_>,
        locks: &LockManager,
        shown_as: Option<&str>,
        kind: Kind,
        name: impl FnOnce() -> PyResult<String>,
    ) -> PyResult<(Py<OwnerObject>, Owners)> {
        let mut owners = match known.filter(|owners| owners.own.get().is_ours()) {
            Some(owners) => owners,
            None => Owners { own: OwnerObject::make(py, locks, &name()?, kind)?, shown_as: Vec::new() },
        };
        let owner = match shown_as {
            None => owners.own.clone_ref(py),
            Some(label) => {
                let owner = OwnerObject::make(py, locks, label, kind)?;
                owners.shown_as.push(owner.clone_ref(py));
                owner
            }
        };
        Ok((owner, owners))
    }
}

struct Entry {
    owners: Owners,
    /// The weak reference whose callback removes the entry.
    watch: Py<PyWeakrefReference>,
}

/// Addresses of objects are multiples of 16, and as good as random above that.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("an address is a usize");
    }

    fn write_usize(&mut self, address: usize) {
        // The map looks at the highest and the lowest bits.
        self.0 = (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Tasks = HashMap<usize, Entry, BuildHasherDefault<AddressHasher>>;

static TASKS: GilCell<Tasks> = GilCell::new(HashMap::with_hasher(BuildHasherDefault::new()));

thread_local! {
    static THREAD: RefCell<Option<Owners>> = const { RefCell::new(None) };
}

/// The owner of the current asyncio task, if it has taken a lock before; `None`: use [`Asker::owner`].
#[inline]
pub(crate) fn of_known_task(py: Python<'_>) -> Option<Py<OwnerObject>> {
    let (event_loop, address) = context::current_task_address(py)?;
    let owner = TASKS.open(py).get(&address)?.owners.find(py, None)?;
    known::remember_task(py, event_loop, &owner);
    Some(owner)
}

#[inline]
fn of_task(
    task: &Bound<'_, PyAny>,
    locks: &LockManager,
    shown_as: Option<&str>,
    kind: Kind,
) -> PyResult<Py<OwnerObject>> {
    let py = task.py();
    let address = task.as_ptr() as usize;
    let known = TASKS.open(py).get(&address).and_then(|entry| entry.owners.find(py, shown_as));
    known.map_or_else(|| of_new_task(task, locks, shown_as, kind), Ok)
}

#[cold]
fn of_new_task(
    task: &Bound<'_, PyAny>,
    locks: &LockManager,
    shown_as: Option<&str>,
    kind: Kind,
) -> PyResult<Py<OwnerObject>> {
    let py = task.py();
    let address = task.as_ptr() as usize;
    // Its weak reference goes with the old entry: the new one has its own.
    let known = TASKS.open(py).remove(&address);
    let (owner, owners) = Owners::with_new(known.map(|entry| entry.owners), py, locks, shown_as, kind, || {
        let name = match kind {
            Kind::Task => task.call_method0("get_name")?,
            Kind::Greenlet => py.import("concurrent_locks._greenlets")?.call_method1("name", (task,))?,
            _ => task.getattr("name")?,
        };
        Ok(name.str()?.to_string())
    })?;
    let watch = PyWeakrefReference::new_with(task, Py::new(py, Forget { address })?)?;
    let entry = Entry { owners, watch: watch.unbind() };
    let old = TASKS.open(py).insert(address, entry);
    drop(old);
    Ok(owner)
}

fn of_thread(py: Python<'_>, locks: &LockManager, shown_as: Option<&str>) -> PyResult<Py<OwnerObject>> {
    let known = THREAD.with_borrow(|owners| owners.as_ref().and_then(|owners| owners.find(py, shown_as)));
    let Some(owner) = known else { return of_new_thread(py, locks, shown_as) };
    if shown_as.is_none() {
        known::remember_thread(py, &owner);
    }
    Ok(owner)
}

#[cold]
fn of_new_thread(py: Python<'_>, locks: &LockManager, shown_as: Option<&str>) -> PyResult<Py<OwnerObject>> {
    let (owner, owners) = Owners::with_new(THREAD.take(), py, locks, shown_as, Kind::Thread, || {
        let thread = made(py).threading.bind(py).call_method0("current_thread")?;
        Ok(thread.getattr("name")?.str()?.to_string())
    })?;
    THREAD.set(Some(owners));
    Ok(owner)
}

/// The task or greenlet that is this owner, if it is one and still there.
pub(crate) fn task_of(py: Python<'_>, id: OwnerId) -> Option<Bound<'_, PyAny>> {
    let is = |owner: &Py<OwnerObject>| owner.get().owner.id() == id;
    let watch = TASKS
        .open(py)
        .values()
        .find(|entry| is(&entry.owners.own) || entry.owners.shown_as.iter().any(is))
        .map(|entry| entry.watch.clone_ref(py))?;
    watch.bind(py).upgrade()
}

/// Makes the classes of which there is no instance yet (I1).
pub(crate) fn make_classes(py: Python<'_>) {
    py.get_type::<OwnerObject>();
    py.get_type::<Forget>();
}

/// The callback of a task's weak reference.
#[pyclass(frozen)]
struct Forget {
    address: usize,
}

#[pymethods]
impl Forget {
    fn __call__(&self, py: Python<'_>, _reference: &Bound<'_, PyAny>) {
        let entry = TASKS.open(py).remove(&self.address);
        // Dropped when the cell is closed (G2).
        if let Some(entry) = entry {
            known::forget(py, &entry.owners.own);
        }
    }
}

static NAMED: GilCell<Option<HashMap<String, Py<OwnerObject>>>> = GilCell::new(None);

/// The owner of all callers that give this name; kept as long as one may hold a lock under it.
fn named(py: Python<'_>, locks: &LockManager, label: &str, kind: Kind) -> PyResult<Py<OwnerObject>> {
    /// Beyond this many, names that nobody uses are forgotten.
    const KEPT: usize = 1024;
    let known = NAMED.open(py).get_or_insert_default().get(label).map(|owner| owner.clone_ref(py));
    if let Some(owner) = known.filter(|owner| owner.get().is_ours()) {
        home::moved_in(py, owner.get().owner.id(), kind);
        return Ok(owner);
    }
    let owner = OwnerObject::of(py, locks.owner(label).or_raise(py)?, kind)?;
    let mut cell = NAMED.open(py);
    let named = cell.get_or_insert_default();
    let unused: Vec<_> = match named.len() {
        KEPT.. => named.extract_if(|_, owner| is_unused(owner)).collect(),
        _ => Vec::new(),
    };
    let old = named.insert(label.to_owned(), owner.clone_ref(py));
    drop(cell);
    drop((unused, old));
    Ok(owner)
}

/// Whether only the map of names knows it: nobody holds or waits under it.
#[expect(unsafe_code, reason = "PyO3 leaves reference counts to the C API")]
fn is_unused(owner: &Py<OwnerObject>) -> bool {
    // SAFETY: a valid object, and the GIL is held (G1).
    unsafe { pyo3::ffi::Py_REFCNT(owner.as_ptr()) == 1 }
}

/// Refuses a name that cannot be an owner's.
pub(crate) fn check_label(py: Python<'_>, locks: &LockManager, label: &Bound<'_, PyString>) -> PyResult<()> {
    let label = label.to_str()?;
    let known = NAMED.open(py).as_ref().is_some_and(|named| named.contains_key(label));
    if known { Ok(()) } else { locks.owner(label).or_raise(py).map(drop) }
}

/// As much of a name as a label can be.
fn cut(name: &str) -> &str {
    let end = (0..=MAX_LABEL_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// The id of the owner that a request would have now, `None` if it would be an owner of its own.
#[pyfunction]
#[pyo3(signature = (manager, label, /))]
pub(crate) fn current_owner(
    py: Python<'_>,
    manager: &Manager,
    label: Option<Bound<'_, PyString>>,
) -> PyResult<Option<String>> {
    let asker = label.map_or(Asker::Current, |label| Asker::Named(label.unbind()));
    let owner = asker.owner(py, manager.locks(), &Context::current(py)?)?;
    Ok(owner.map(|owner| owner.get().owner.id().to_string()))
}
