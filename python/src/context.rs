//! Where a call comes from: an asyncio task, a callback of a loop, a trio task, a greenlet, or a plain thread.

use pyo3::{ffi, prelude::*, types::PyDict};

use crate::{
    fork,
    gil::GilCell,
    known,
    made::{made, string},
};

/// Where a call comes from.
pub(crate) enum Context<'py> {
    /// In this task of this running asyncio loop.
    Task { event_loop: Bound<'py, PyAny>, task: Bound<'py, PyAny> },
    /// On the thread of this running asyncio loop, but in no task.
    Callback { event_loop: Bound<'py, PyAny> },
    /// In this trio task.
    Trio { task: Bound<'py, PyAny> },
    /// In this greenlet, which is not the first one of its thread: that one is the thread.
    Greenlet { greenlet: Bound<'py, PyAny> },
    /// On a thread where no event loop that we know runs.
    Thread,
}

impl<'py> Context<'py> {
    #[inline]
    pub(crate) fn current(py: Python<'py>) -> PyResult<Context<'py>> {
        if let Some(event_loop) = running_loop(py)? {
            if let Some(task) = current_task(py, &event_loop)? {
                return Ok(Context::Task { event_loop, task });
            }
            // The loop of another greenlet of this thread, or the one by which eventlet runs them all.
            return Ok(match greenlet(py)? {
                Some(greenlet) if greenlets_cooperate(py)? => Context::Greenlet { greenlet },
                _ => Context::Callback { event_loop },
            });
        }
        if let Some(greenlet) = greenlet(py)? {
            return Ok(Context::Greenlet { greenlet });
        }
        Ok(trio_task(py)?.map_or(Context::Thread, |task| Context::Trio { task }))
    }

    /// Whether an event loop runs here: a thread that waits stops it.
    pub(crate) fn is_in_event_loop(&self) -> bool {
        matches!(self, Context::Task { .. } | Context::Callback { .. } | Context::Trio { .. })
    }
}

/// The addresses of the running asyncio loop and of its current task, as fast as they can be had, without Python code;
/// `None`: use [`Context::current`].
#[inline]
pub(crate) fn current_task_address(py: Python<'_>) -> Option<(usize, usize)> {
    match &made(py).asyncio.tasks {
        Tasks::Dictionary(tasks) => task_address_before_312(py, tasks),
        Tasks::Function(current_task) => {
            let event_loop = made(py).asyncio.ask(py).ok()??;
            if let Some(task) = known::current_task_of(py, &event_loop) {
                return task.map(|task| (event_loop.as_ptr() as usize, task));
            }
            let task = current_task.bind(py).call1((&event_loop,)).ok()?;
            (!task.is_none()).then(|| (event_loop.as_ptr() as usize, task.as_ptr() as usize))
        }
    }
}

/// Whether no loop runs on this thread, and nobody who could be the caller in its place (a greenlet, a task of trio) is
/// to be had. Runs no Python code.
pub(crate) fn is_nothing_but_a_thread(py: Python<'_>) -> bool {
    GETCURRENT.open(py).is_none()
        && [string!(py, greenlet), string!(py, trio)].into_iter().all(|name| imported(py, name).is_none())
        && running_loop(py).is_ok_and(|event_loop| event_loop.is_none())
}

/// What `_asyncio` offers in this version of Python.
pub(crate) struct Asyncio {
    get_running_loop: Py<PyAny>,
    tasks: Tasks,
}

enum Tasks {
    /// Up to 3.11: the dictionary from running loops to their tasks. There, asking for the running
    /// loop costs a system call (`getpid`), so its answer is kept: see [`running_loop_before_312`].
    Dictionary(Py<PyDict>),
    /// From 3.12 on: the function `current_task(loop)`.
    Function(Py<PyAny>),
}

#[inline]
fn running_loop<'py>(py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let asyncio = &made(py).asyncio;
    match asyncio.tasks {
        Tasks::Dictionary(_) => running_loop_before_312(py, asyncio),
        Tasks::Function(_) => asyncio.ask(py),
    }
}

impl Asyncio {
    pub(crate) fn find(py: Python<'_>) -> PyResult<Asyncio> {
        let events = py.import("asyncio.events")?;
        let tasks = py.import("asyncio.tasks")?;
        Ok(Asyncio {
            get_running_loop: events.getattr("_get_running_loop")?.unbind(),
            tasks: if py.version_info() >= (3, 12) {
                Tasks::Function(tasks.getattr("current_task")?.unbind())
            } else {
                Tasks::Dictionary(tasks.getattr("_current_tasks")?.cast_into()?.unbind())
            },
        })
    }

    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let event_loop = self.get_running_loop.bind(py).call0()?;
        Ok((!event_loop.is_none()).then_some(event_loop))
    }
}

/// What [`running_loop_before_312`] learned of one holder.
struct Told {
    /// Kept alive, so that no other object gets its address.
    holder: Py<PyAny>,
    epoch: u64,
    event_loop: Option<Py<PyAny>>,
}

/// For a few threads with loops at a time; more of them only ask more often.
const PLACES: usize = 8;
static TOLD: GilCell<[Option<Told>; PLACES]> = GilCell::new([const { None }; PLACES]);

/// CPython 3.11 keeps, in the thread's dictionary, a holder object made again whenever a loop starts or
/// stops to run: as long as it is the same holder, in the same process, it is the same loop.
#[inline]
fn running_loop_before_312<'py>(py: Python<'py>, asyncio: &Asyncio) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(thread) = thread_dictionary(py) else { return asyncio.ask(py) };
    let Some(holder) = thread.get_item(string!(py, running_loop))? else { return Ok(None) };
    let place = place_of(holder.as_ptr());
    if let Some(told) = &TOLD.open(py)[place]
        && told.holder.is(&holder)
        && told.epoch == fork::epoch()
    {
        return Ok(told.event_loop.as_ref().map(|event_loop| event_loop.bind(py).clone()));
    }
    let event_loop = asyncio.ask(py)?;
    let told =
        Told { holder: holder.unbind(), epoch: fork::epoch(), event_loop: event_loop.clone().map(Bound::unbind) };
    let old = TOLD.open(py)[place].replace(told);
    // Dropped when the cell is closed: that may run Python code (G2).
    drop(old);
    Ok(event_loop)
}

/// [`current_task_address`] for a loop that [`running_loop_before_312`] knows.
#[inline]
#[expect(unsafe_code, reason = "counting references would cost as much as the look-ups")]
fn task_address_before_312(py: Python<'_>, tasks: &Py<PyDict>) -> Option<(usize, usize)> {
    let key = string!(py, running_loop);
    // SAFETY: the GIL is held (G1). All references are borrowed from dictionaries, and used before
    // anything could change them: looking up a string, or a loop (whose hash is its address), runs no
    // Python code. A missing key sets no exception; an unhashable loop does, and is none.
    unsafe {
        let thread = ffi::PyThreadState_GetDict();
        if thread.is_null() {
            return None;
        }
        let holder = ffi::PyDict_GetItemWithError(thread, key.as_ptr());
        let told = &TOLD.open(py)[place_of(holder)];
        let told = told.as_ref().filter(|told| told.holder.as_ptr() == holder && told.epoch == fork::epoch())?;
        let event_loop = told.event_loop.as_ref()?;
        let task = ffi::PyDict_GetItemWithError(tasks.as_ptr(), event_loop.as_ptr());
        if task.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some((event_loop.as_ptr() as usize, task as usize))
    }
}

fn place_of(holder: *mut ffi::PyObject) -> usize {
    holder as usize / 64 % PLACES
}

#[expect(unsafe_code, reason = "PyO3 does not wrap the thread's dictionary")]
fn thread_dictionary(py: Python<'_>) -> Option<Bound<'_, PyDict>> {
    // SAFETY: the GIL is held (G1). The function returns a borrowed reference to a dictionary, or null.
    let dictionary = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyThreadState_GetDict()) }?;
    dictionary.cast_into().ok()
}

#[inline]
fn current_task<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match &made(py).asyncio.tasks {
        Tasks::Dictionary(tasks) => tasks.bind(py).get_item(event_loop),
        Tasks::Function(current_task) => {
            let task = current_task.bind(py).call1((event_loop,))?;
            Ok((!task.is_none()).then_some(task))
        }
    }
}

/// The current trio task, if trio is imported and runs on this thread.
fn trio_task(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(trio) = imported(py, string!(py, trio)) else { return Ok(None) };
    // Half imported on another thread: then it does not run here.
    let Ok(lowlevel) = trio.getattr(string!(py, lowlevel)) else { return Ok(None) };
    if !lowlevel.call_method0(string!(py, in_trio_task))?.is_truthy()? {
        return Ok(None);
    }
    lowlevel.call_method0(string!(py, current_task)).map(Some)
}

/// `greenlet.getcurrent`, as soon as somebody has imported it.
static GETCURRENT: GilCell<Option<Py<PyAny>>> = GilCell::new(None);

/// The current greenlet, if it is not the first one of its thread. Libraries are looked for among what is imported
/// already: who runs in a greenlet has imported them.
fn greenlet(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(getcurrent) = getcurrent(py) else { return Ok(None) };
    let current = getcurrent.call0()?;
    let is_first = current.getattr(string!(py, parent))?.is_none();
    Ok((!is_first).then_some(current))
}

#[inline]
fn getcurrent(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let known = GETCURRENT.open(py).as_ref().map(|function| function.bind(py).clone());
    known.or_else(|| {
        let module = imported(py, string!(py, greenlet))?;
        // Half imported on another thread: then this is no greenlet.
        let function = module.getattr(string!(py, getcurrent)).ok()?;
        let old = GETCURRENT.open(py).replace(function.clone().unbind());
        // Dropped when the cell is closed (G2).
        drop(old);
        Some(function)
    })
}

/// Whether greenlets of this thread may wait for each other: gevent or eventlet runs them.
pub(crate) fn greenlets_cooperate(py: Python<'_>) -> PyResult<bool> {
    if getcurrent(py).is_none() {
        return Ok(false);
    }
    let hub = py.import("concurrent_locks._greenlets")?.call_method0(string!(py, hub))?;
    Ok(!hub.is_none())
}

/// Whether there may be greenlets on this thread.
pub(crate) fn greenlets_are_imported(py: Python<'_>) -> bool {
    getcurrent(py).is_some()
}

/// A module that somebody has imported.
#[inline]
#[expect(unsafe_code, reason = "counting references would cost as much as the look-up")]
fn imported<'py>(py: Python<'py>, name: &Bound<'py, pyo3::types::PyString>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the GIL is held (G1); a dictionary and a string; a borrowed reference or null. Looking up a string
    // runs no Python code and sets no exception.
    unsafe {
        let module = ffi::PyDict_GetItemWithError(made(py).modules.as_ptr(), name.as_ptr());
        Bound::from_borrowed_ptr_or_opt(py, module)
    }
}
