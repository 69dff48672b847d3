//! `LockManager.read_lock` and `write_lock`, made by hand: they are called as often as a lock is taken.
//!
//! A call with a name, or a name and a timeout, is answered here; any other goes to the ordinary
//! methods ([`Manager::lock_for_reading`](crate::manager::Manager) and its twin), which say what is wrong.

#![expect(unsafe_code, reason = "methods made with the C API")]

use std::{
    ffi::{CStr, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use concurrent_locks::Mode;
use pyo3::{
    ffi::{self, PyObject},
    panic::PanicException,
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};

use crate::{
    made::string,
    manager::{self, Manager},
    timeout::Timeout,
};

/// Adds the methods to the class.
pub(crate) fn add_to(class: &Bound<'_, pyo3::types::PyType>) -> PyResult<()> {
    add(
        class,
        c"read_lock",
        read_lock,
        c"read_lock($self, resource_name, timeout=10.0, *, priority=0, owner=None, note=None, max_hold=None)\n--\n\n\
          Make a guard that holds ``resource_name`` together with other readers while it is entered.\n\n\
          ``timeout`` is in seconds: ``None``, negative or infinite means for ever, ``0`` one try. A ``priority`` of\n\
          p counts like having arrived p seconds earlier. ``owner`` names the owner, instead of the current task or\n\
          thread: requests with the same name re-enter each other's locks. ``note`` is shown in status and errors.\n\
          After ``max_hold`` seconds the lock goes to the next waiter; only for redis:// and postgres://.",
    )?;
    add(
        class,
        c"write_lock",
        write_lock,
        c"write_lock($self, resource_name, timeout=30.0, *, priority=0, owner=None, note=None, max_hold=None)\n--\n\n\
          Make a guard that holds ``resource_name`` exclusively while it is entered. See :meth:`read_lock`.",
    )
}

fn add(
    class: &Bound<'_, pyo3::types::PyType>,
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    text: &'static CStr,
) -> PyResult<()> {
    // The descriptor keeps a pointer to it for ever.
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS as c_int,
        ml_doc: text.as_ptr(),
    }));
    // SAFETY: a class and a definition that lives for ever; a new reference or null.
    let method =
        unsafe { Bound::from_owned_ptr_or_err(class.py(), ffi::PyDescr_NewMethod(class.as_type_ptr(), definition)) }?;
    class.setattr(PyString::from_bytes(class.py(), name.to_bytes())?, method)
}

unsafe extern "C" fn read_lock(
    manager: *mut PyObject,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter's call of a method of `Manager`.
    unsafe { lock(manager, arguments, count, names, Mode::Read) }
}

unsafe extern "C" fn write_lock(
    manager: *mut PyObject,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter's call of a method of `Manager`.
    unsafe { lock(manager, arguments, count, names, Mode::Write) }
}

/// # Safety
/// A call of a method of [`Manager`] as the interpreter makes it: with the GIL held, `manager` an
/// instance of the class (its descriptor checks that), `arguments` as many positional ones as `count`
/// says and then one for each of `names`, a tuple or null; all borrowed for the time of the call.
#[inline]
unsafe fn lock(
    manager: *mut PyObject,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
    mode: Mode,
) -> *mut PyObject {
    // SAFETY: the caller's promise; no more than `count` arguments and those of the names are looked at.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe {
        let py = Python::assume_attached();
        let manager = Borrowed::from_ptr(py, manager).cast_unchecked::<Manager>();
        let argument = |place: isize| Borrowed::from_ptr(py, *arguments.offset(place));
        let timeout = match (count, names.is_null()) {
            (1, true) => Some(manager::default_timeout(mode)),
            (2, true) => Some(Timeout::of(&argument(1))?),
            (1, false) if is_timeout_alone(py, names) => Some(Timeout::of(&argument(1))?),
            _ => None,
        };
        if let Some(timeout) = timeout
            && let Ok(name) = argument(0).cast::<PyString>()
        {
            return manager::simple_guard(&manager, name.to_owned(), mode, timeout);
        }
        let names = Borrowed::from_ptr_or_opt(py, names);
        ordinary(&manager, mode, count, &argument, names.as_deref())
    }));
    match result {
        Ok(Ok(guard)) => return guard.into_ptr(),
        // SAFETY: the GIL is held.
        Ok(Err(error)) => error.restore(unsafe { Python::assume_attached() }),
        // SAFETY: the GIL is held.
        Err(_) => PanicException::new_err("a lock manager panicked").restore(unsafe { Python::assume_attached() }),
    }
    ptr::null_mut()
}

/// Whether the one keyword is `timeout`. Those of a call are interned; if not, the ordinary way decides.
unsafe fn is_timeout_alone(py: Python<'_>, names: *mut PyObject) -> bool {
    // SAFETY: the caller gives a tuple.
    unsafe { ffi::PyTuple_Size(names) == 1 && ffi::PyTuple_GetItem(names, 0) == string!(py, timeout).as_ptr() }
}

/// Calls the method that takes all arguments.
#[cold]
fn ordinary<'py>(
    manager: &Bound<'py, Manager>,
    mode: Mode,
    count: ffi::Py_ssize_t,
    argument: &dyn Fn(isize) -> Borrowed<'py, 'py, PyAny>,
    names: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = manager.py();
    let positional = PyTuple::new(py, (0..count).map(|place| argument(place).to_owned()))?;
    let keywords = PyDict::new(py);
    for (place, name) in names.map(|names| names.try_iter()).transpose()?.into_iter().flatten().enumerate() {
        keywords.set_item(name?, argument(count + place as isize))?;
    }
    let method = match mode {
        Mode::Read => string!(py, lock_for_reading),
        Mode::Write => string!(py, lock_for_writing),
    };
    manager.call_method(method, positional, Some(&keywords))
}
