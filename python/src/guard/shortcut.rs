//! Descriptors that make no bound methods: see `object.rs`.

#![expect(unsafe_code, reason = "a type made with the C API")]

use std::ffi::c_void;

use pyo3::{
    ffi::{self, PyObject},
    prelude::*,
    types::PyType,
};

use super::{
    native::{NOT_BY_PYTHON, make_type, slot},
    object,
};
use crate::made::string;

/// A descriptor: looked up in a guard it is what `of` says, looked up in the type a method.
#[repr(C)]
struct Shortcut {
    base: PyObject,
    method: *mut PyObject,
    /// Makes a new reference.
    of: unsafe fn(*mut PyObject) -> *mut PyObject,
}

/// The guard itself: see `object.rs`.
unsafe fn itself(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: a valid object.
    unsafe { ffi::Py_NewRef(object) }
}

unsafe extern "C" fn shortcut_get(
    shortcut: *mut PyObject,
    object: *mut PyObject,
    _class: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a `tp_descr_get` of a `Shortcut`, which is filled in before anybody can look it up. What it is looked up in
    // is checked: anybody can call `__get__`.
    unsafe {
        let shortcut = shortcut.cast::<Shortcut>();
        if object.is_null() {
            return ffi::Py_NewRef((*shortcut).method);
        }
        if !object::is_guard(object) {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"this is a method of guards".as_ptr());
            return std::ptr::null_mut();
        }
        ((*shortcut).of)(object)
    }
}

/// Puts shortcuts to these methods of a guard type in their place.
pub(super) fn add_shortcuts(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let slots = [slot(ffi::Py_tp_descr_get, shortcut_get as *mut c_void), ffi::PyType_Slot::default()];
    let kind = make_type(py, c"concurrent_locks._core.Shortcut", size_of::<Shortcut>(), NOT_BY_PYTHON, slots)?;
    let ways: [(_, unsafe fn(_) -> _); 4] = [
        (string!(py, aenter), itself),
        (string!(py, aexit), itself),
        (string!(py, enter_), object::enter_of),
        (string!(py, exit_), object::exit_of),
    ];
    for (name, of) in ways {
        let method = class.getattr(name)?;
        // SAFETY: the type is that of shortcuts; a new reference or null. The method's reference is kept
        // for ever, as the shortcut is by its class.
        let shortcut = unsafe {
            let shortcut = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind.as_type_ptr(), 0))?;
            let filled = shortcut.as_ptr().cast::<Shortcut>();
            (&raw mut (*filled).method).write(method.into_ptr());
            (&raw mut (*filled).of).write(of);
            shortcut
        };
        class.setattr(name, shortcut)?;
    }
    Ok(())
}
