//! Descriptors that make no bound methods: see `object.rs`.

#![expect(unsafe_code, reason = "a type made with the C API")]

use std::ffi::c_void;

use pyo3::{
    ffi::{self, PyObject},
    prelude::*,
    types::PyType,
};

use super::native::{NOT_BY_PYTHON, make_type, slot};
use crate::made::string;

/// A descriptor: looked up in an object it is the object, looked up in the type a method.
#[repr(C)]
struct Shortcut {
    base: PyObject,
    method: *mut PyObject,
}

unsafe extern "C" fn shortcut_get(
    shortcut: *mut PyObject,
    object: *mut PyObject,
    _class: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a `tp_descr_get` of a `Shortcut`, whose method is set before anybody can look it up.
    unsafe { ffi::Py_NewRef(if object.is_null() { (*shortcut.cast::<Shortcut>()).method } else { object }) }
}

/// Puts shortcuts to these methods of a guard type in their place.
pub(super) fn add_shortcuts(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let slots = [slot(ffi::Py_tp_descr_get, shortcut_get as *mut c_void), ffi::PyType_Slot::default()];
    let kind = make_type(py, c"concurrent_locks._core.Shortcut", size_of::<Shortcut>(), NOT_BY_PYTHON, slots)?;
    for name in [string!(py, aenter), string!(py, aexit)] {
        let method = class.getattr(name)?;
        // SAFETY: the type is that of shortcuts; a new reference or null. The method's reference is kept
        // for ever, as the shortcut is by its class.
        let shortcut = unsafe {
            let shortcut = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind.as_type_ptr(), 0))?;
            (*shortcut.as_ptr().cast::<Shortcut>()).method = method.into_ptr();
            shortcut
        };
        class.setattr(name, shortcut)?;
    }
    Ok(())
}
