//! Who calls, remembered: a caller that took a lock before and has not been anybody else since.
//!
//! To find out who calls takes up to four looks into dictionaries, which together cost more than the lock. What they
//! say is the same as long as the dictionaries are, which their versions tell (`version.rs`):
//!
//! - **K1** The dictionary of a thread is its own. Up to CPython 3.12 it says which event loop runs there; in 3.13
//!   the interpreter is asked.
//! - **K2** A task is current until `asyncio.tasks._current_tasks` changes.
//! - **K3** A thread without a loop is the owner itself as long as neither greenlet nor trio is imported: until
//!   `sys.modules` changes.
//! - **K4** What is remembered was looked up in the moment in which the versions were read: no Python code ran between.

#![expect(unsafe_code, reason = "counting references would cost as much as the look-ups")]

use pyo3::{ffi, prelude::*, types::PyDict};

use crate::{context, fork, gil::GilCell, made::made, owner::OwnerObject, version};

/// What the versions of dictionaries are asked for.
pub(crate) struct Watched {
    current_tasks: Py<PyDict>,
    /// `_get_running_loop`, where it has to be asked (K1).
    running_loop: Option<Py<PyAny>>,
}

impl Watched {
    /// `None` where dictionaries have no versions.
    pub(crate) fn find(py: Python<'_>) -> PyResult<Option<Watched>> {
        if !version::are_known(py)? {
            return Ok(None);
        }
        let current_tasks = py.import("asyncio.tasks")?.getattr("_current_tasks")?;
        let Ok(current_tasks) = current_tasks.cast_into_exact::<PyDict>() else { return Ok(None) };
        let asked = py.version_info() >= (3, 13);
        let running_loop = asked.then(|| py.import("asyncio.events")?.getattr("_get_running_loop")).transpose()?;
        Ok(Some(Watched { current_tasks: current_tasks.unbind(), running_loop: running_loop.map(Bound::unbind) }))
    }
}

struct Known {
    /// The version of the thread's dictionary.
    thread: u64,
    /// That of the current tasks (K2), or of the modules (K3).
    other: u64,
    /// The address of the task's loop; 0 is a thread without one. A loop with a current task is not gone.
    event_loop: usize,
    epoch: u64,
    owner: Py<OwnerObject>,
}

/// By the thread. Two threads of one place only forget each other.
const PLACES: usize = 32;
static KNOWN: GilCell<[Option<Known>; PLACES]> = GilCell::new([const { None }; PLACES]);

fn place_of(thread: *mut ffi::PyObject) -> usize {
    thread as usize / 64 % PLACES
}

/// The owner that calls, if it is known.
#[inline]
pub(crate) fn owner(py: Python<'_>) -> Option<Py<OwnerObject>> {
    let made = made(py);
    let watched = made.watched.as_ref()?;
    // SAFETY: the GIL is held (G1); dictionaries, of which references are borrowed: the first one is the thread's,
    // or null.
    unsafe {
        let thread = ffi::PyThreadState_GetDict();
        if thread.is_null() {
            return None;
        }
        let known = &KNOWN.open(py)[place_of(thread)];
        let known = known.as_ref()?;
        let other = if known.event_loop == 0 { made.modules.as_ptr() } else { watched.current_tasks.as_ptr() };
        let is_same = known.thread == version::of(thread) && known.other == version::of(other);
        if !is_same || known.epoch != fork::epoch() || !runs(watched, known.event_loop) {
            return None;
        }
        Some(known.owner.clone_ref(py))
    }
}

/// Whether this loop runs on this thread, where the thread's dictionary does not say so (K1).
///
/// # Safety
/// The GIL must be held.
#[inline]
unsafe fn runs(watched: &Watched, event_loop: usize) -> bool {
    let Some(running_loop) = &watched.running_loop else { return true };
    // SAFETY: the caller holds the GIL; a callable, and a new reference or null. The loop is not used, only compared,
    // and the thread keeps it alive.
    unsafe {
        let running = ffi::PyObject_CallNoArgs(running_loop.as_ptr());
        if running.is_null() {
            ffi::PyErr_Clear();
            return false;
        }
        ffi::Py_DECREF(running);
        running as usize == if event_loop == 0 { ffi::Py_None() as usize } else { event_loop }
    }
}

/// The address of this loop's current task, if there is one; `None` where the loops' tasks are not in a dictionary.
pub(crate) fn current_task_of(py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> Option<Option<usize>> {
    let tasks = &made(py).watched.as_ref()?.current_tasks;
    // SAFETY: the GIL is held (G1); a dictionary and an object; a borrowed reference, or null, perhaps with an error.
    let task = unsafe { ffi::PyDict_GetItemWithError(tasks.as_ptr(), event_loop.as_ptr()) };
    if task.is_null() {
        // SAFETY: the GIL is held.
        unsafe { ffi::PyErr_Clear() };
        return Some(None);
    }
    Some(Some(task as usize))
}

/// Remembers the owner of the current task of this loop (K4).
#[inline]
pub(crate) fn remember_task(py: Python<'_>, event_loop: usize, owner: &Py<OwnerObject>) {
    if let Some(watched) = &made(py).watched {
        remember(py, watched.current_tasks.as_ptr(), event_loop, owner);
    }
}

/// Remembers the owner of this thread, if nothing else than the thread can be the caller (K3, K4).
pub(crate) fn remember_thread(py: Python<'_>, owner: &Py<OwnerObject>) {
    if made(py).watched.is_some() && context::is_nothing_but_a_thread(py) {
        remember(py, made(py).modules.as_ptr(), 0, owner);
    }
}

fn remember(py: Python<'_>, other: *mut ffi::PyObject, event_loop: usize, owner: &Py<OwnerObject>) {
    // SAFETY: as in `owner`; the other one is one of the two dictionaries.
    let (place, known) = unsafe {
        let thread = ffi::PyThreadState_GetDict();
        if thread.is_null() {
            return;
        }
        let (thread_version, other) = (version::of(thread), version::of(other));
        let owner = owner.clone_ref(py);
        (place_of(thread), Known { thread: thread_version, other, event_loop, epoch: fork::epoch(), owner })
    };
    let old = KNOWN.open(py)[place].replace(known);
    // When the cell is closed (G2).
    if let Some(old) = old {
        old.owner.drop_ref(py);
    }
}

/// This owner is nobody any more.
pub(crate) fn forget(py: Python<'_>, owner: &Py<OwnerObject>) {
    let mut cell = KNOWN.open(py);
    let gone = cell.iter_mut().find(|known| known.as_ref().is_some_and(|known| known.owner.is(owner)));
    let gone = gone.and_then(Option::take);
    drop(cell);
    drop(gone);
}
