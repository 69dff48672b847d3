//! Created at import: strings, modules, functions and classes of Python that are used later.
//!
//! - **I1** Nothing here, and nothing else that is made once, is made later than at the import. PyO3 makes such things
//!   behind a `Once`, and lets the GIL go meanwhile. A child that is forked in that moment by another thread would
//!   wait for a thread that it does not have, for ever. So no `intern!`, and no class whose first instance makes it.

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyString},
};

macro_rules! strings {
    ($($name:ident = $text:literal,)*) => {
        /// Interned strings.
        pub(crate) struct Strings {
            $(pub(crate) $name: Py<PyString>,)*
        }

        impl Strings {
            fn make(py: Python<'_>) -> Strings {
                Strings { $($name: PyString::intern(py, $text).unbind(),)* }
            }
        }
    };
}

strings! {
    add_reader = "add_reader",
    aenter = "__aenter__",
    aexit = "__aexit__",
    asyncio_future_blocking = "_asyncio_future_blocking",
    await_ = "__await__",
    create_future = "create_future",
    current_task = "current_task",
    done = "done",
    enter = "enter",
    enter_ = "__enter__",
    exit_ = "__exit__",
    executors = "concurrent.futures.thread",
    from_core = "from_core",
    get_ident = "get_ident",
    getcurrent = "getcurrent",
    greenlet = "greenlet",
    hub = "hub",
    ident = "ident",
    in_trio_task = "in_trio_task",
    lock_for_reading = "_lock_for_reading",
    lock_for_writing = "_lock_for_writing",
    lowlevel = "lowlevel",
    main_thread = "main_thread",
    parent = "parent",
    running_loop = "__asyncio_running_event_loop__",
    set_result = "set_result",
    timeout = "timeout",
    traceback = "__traceback__",
    trio = "trio",
    wait = "wait",
}

/// What is made at the import.
pub(crate) struct Made {
    pub(crate) strings: Strings,
    /// `sys.modules`.
    pub(crate) modules: Py<PyDict>,
    pub(crate) threading: Py<PyModule>,
    pub(crate) asyncio: crate::context::Asyncio,
    pub(crate) logger: crate::log::Logger,
    pub(crate) watched: Option<crate::known::Watched>,
}

static MADE: PyOnceLock<Made> = PyOnceLock::new();

/// What the import has made.
#[inline]
pub(crate) fn made(py: Python<'_>) -> &Made {
    MADE.get(py).unwrap_or_else(|| unreachable!("made by the import of the module"))
}

/// An interned string.
macro_rules! string {
    ($py:expr, $name:ident) => {
        $crate::made::made($py).strings.$name.bind($py)
    };
}
pub(crate) use string;

/// Makes it all (I1).
pub(crate) fn make(py: Python<'_>) -> PyResult<()> {
    MADE.get_or_try_init(py, || {
        Ok::<_, PyErr>(Made {
            strings: Strings::make(py),
            modules: py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?.unbind(),
            threading: py.import("threading")?.unbind(),
            asyncio: crate::context::Asyncio::find(py)?,
            logger: crate::log::Logger::find(py)?,
            watched: crate::known::Watched::find(py)?,
        })
    })?;
    crate::mailbox::make_classes(py);
    crate::owner::make_classes(py);
    py.get_type::<crate::waiting::Waiting>();
    // So that the question whether there is an interpreter is answered, too.
    Python::attach(|_| ());
    Ok(())
}
