//! The result of `__aexit__`: a completed awaitable, of which there is only one.

#![expect(unsafe_code, reason = "a type made with the C API")]

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use pyo3::{
    ffi::{self, PyObject},
    prelude::*,
    sync::PyOnceLock,
};

use super::native::{NOT_BY_PYTHON, make_type, slot};

static DONE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A new reference to it, null before the module is initialised.
#[inline]
pub(super) fn new_reference(py: Python<'_>) -> *mut PyObject {
    DONE.get(py).map_or(ptr::null_mut(), |done| done.clone_ref(py).into_ptr())
}

/// Makes it.
pub(super) fn make(py: Python<'_>) -> PyResult<()> {
    let slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_am_await, same as *mut c_void),
        slot(ffi::Py_am_send, send as *mut c_void),
        slot(ffi::Py_tp_iter, same as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        ffi::PyType_Slot::default(),
    ];
    let class = make_type(py, c"concurrent_locks._core.Done", size_of::<PyObject>(), NOT_BY_PYTHON, slots)?;
    // SAFETY: the type's objects are plain `PyObject`s; a new reference or null.
    let done = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(class.as_type_ptr(), 0)) }?;
    DONE.get_or_init(py, || done.unbind());
    Ok(())
}

unsafe extern "C" fn same(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: a slot, called with a valid object.
    unsafe { ffi::Py_NewRef(object) }
}

unsafe extern "C" fn send(_object: *mut PyObject, _value: *mut PyObject, result: *mut *mut PyObject) -> c_int {
    // SAFETY: a slot; `result` is the caller's to fill with a new reference.
    unsafe { *result = ffi::Py_NewRef(ffi::Py_None()) };
    ffi::PySendResult::PYGEN_RETURN as c_int
}

/// Ends the iteration. No exception is set: that means `None`, and costs nothing.
unsafe extern "C" fn next(_object: *mut PyObject) -> *mut PyObject {
    ptr::null_mut()
}

/// There is one, for ever; but an interpreter that ends may drop it.
unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the last reference is gone, to an object that `PyType_GenericAlloc` made for a type of the
    // heap without garbage collection.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}
