//! Where a call comes from: an asyncio task, a callback of a loop, a trio task, or a plain thread.

use pyo3::{intern, prelude::*, sync::PyOnceLock, types::PyDict};

use crate::{fork, gil::GilCell};

/// Where a call comes from.
pub(crate) enum Context<'py> {
    /// In this task of this running asyncio loop.
    Task { event_loop: Bound<'py, PyAny>, task: Bound<'py, PyAny> },
    /// On the thread of this running asyncio loop, but in no task.
    Callback { event_loop: Bound<'py, PyAny> },
    /// In this trio task.
    Trio { task: Bound<'py, PyAny> },
    /// On a thread where no event loop that we know runs.
    Thread,
}

impl<'py> Context<'py> {
    #[inline]
    pub(crate) fn current(py: Python<'py>) -> PyResult<Context<'py>> {
        if let Some(event_loop) = running_loop(py)? {
            return Ok(match current_task(py, &event_loop)? {
                Some(task) => Context::Task { event_loop, task },
                None => Context::Callback { event_loop },
            });
        }
        Ok(trio_task(py)?.map_or(Context::Thread, |task| Context::Trio { task }))
    }
}

/// The address of the current asyncio task, as fast as it can be had; `None`: use [`Context::current`].
#[inline]
pub(crate) fn current_task_address(py: Python<'_>) -> Option<usize> {
    let asyncio = ASYNCIO.get(py)?;
    match &asyncio.tasks {
        Tasks::Dictionary(tasks) => task_address_before_312(py, tasks),
        // Without a running loop it raises, and the rare way finds out why.
        Tasks::Function(current_task) => {
            let task = current_task.bind(py).call0().ok()?;
            (!task.is_none()).then(|| task.as_ptr() as usize)
        }
    }
}

/// What `_asyncio` offers in this version of Python.
struct Asyncio {
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

static ASYNCIO: PyOnceLock<Asyncio> = PyOnceLock::new();

fn asyncio(py: Python<'_>) -> PyResult<&Asyncio> {
    ASYNCIO.get_or_try_init(py, || {
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
    })
}

#[inline]
fn running_loop<'py>(py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let asyncio = asyncio(py)?;
    match asyncio.tasks {
        Tasks::Dictionary(_) => running_loop_before_312(py, asyncio),
        Tasks::Function(_) => asyncio.ask(py),
    }
}

impl Asyncio {
    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let event_loop = self.get_running_loop.bind(py).call0()?;
        Ok((!event_loop.is_none()).then_some(event_loop))
    }
}

/// What [`running_loop_before_312`] was told of one holder.
struct Told {
    /// Kept alive, so that no other object gets its address.
    holder: Py<PyAny>,
    epoch: u64,
    event_loop: Option<Py<PyAny>>,
}

/// For a few threads with loops at a time; more of them only ask more often.
const PLACES: usize = 8;
static TOLD: GilCell<[Option<Told>; PLACES]> = GilCell::new([const { None }; PLACES]);

/// CPython 3.11 keeps, in the thread's dictionary, a holder object made anew whenever a loop starts or
/// stops to run: as long as it is the same holder, in the same process, it is the same loop.
#[inline]
fn running_loop_before_312<'py>(py: Python<'py>, asyncio: &Asyncio) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(thread) = thread_dictionary(py) else { return asyncio.ask(py) };
    let Some(holder) = thread.get_item(intern!(py, "__asyncio_running_event_loop__"))? else { return Ok(None) };
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
fn task_address_before_312(py: Python<'_>, tasks: &Py<PyDict>) -> Option<usize> {
    use pyo3::ffi;
    let key = intern!(py, "__asyncio_running_event_loop__");
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
        Some(task as usize)
    }
}

fn place_of(holder: *mut pyo3::ffi::PyObject) -> usize {
    holder as usize / 64 % PLACES
}

#[expect(unsafe_code, reason = "PyO3 does not wrap the thread's dictionary")]
fn thread_dictionary(py: Python<'_>) -> Option<Bound<'_, PyDict>> {
    // SAFETY: the GIL is held (G1). The function returns a borrowed reference to a dictionary, or null.
    let dictionary = unsafe { Bound::from_borrowed_ptr_or_opt(py, pyo3::ffi::PyThreadState_GetDict()) }?;
    dictionary.cast_into().ok()
}

#[inline]
fn current_task<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match &asyncio(py)?.tasks {
        Tasks::Dictionary(tasks) => tasks.bind(py).get_item(event_loop),
        Tasks::Function(current_task) => {
            let task = current_task.bind(py).call1((event_loop,))?;
            Ok((!task.is_none()).then_some(task))
        }
    }
}

/// The current trio task, if trio is imported and runs on this thread.
fn trio_task(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let modules = modules(py)?;
    let Some(trio) = modules.get_item(intern!(py, "trio"))? else { return Ok(None) };
    // Half imported on another thread: then it does not run here.
    let Ok(lowlevel) = trio.getattr(intern!(py, "lowlevel")) else { return Ok(None) };
    if !lowlevel.call_method0(intern!(py, "in_trio_task"))?.is_truthy()? {
        return Ok(None);
    }
    lowlevel.call_method0(intern!(py, "current_task")).map(Some)
}

fn modules(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let get = || Ok::<_, PyErr>(py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?.unbind());
    MODULES.get_or_try_init(py, get).map(|modules| modules.bind(py))
}
