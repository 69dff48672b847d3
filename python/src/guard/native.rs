//! Types made with the C API, for guards and their companions.

#![expect(unsafe_code, reason = "types made with the C API")]

use std::{
    ffi::{CStr, c_int, c_uint, c_void},
    ptr,
};

use pyo3::{ffi, prelude::*, types::PyType};

pub(super) fn slot(slot: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc: function }
}

pub(super) const END: ffi::PyMethodDef = ffi::PyMethodDef::zeroed();

pub(super) fn method(name: &'static CStr, flags: c_int, function: ffi::PyMethodDefPointer) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth: function, ml_flags: flags, ml_doc: ptr::null() }
}

/// A flag: Python code cannot make instances.
pub(super) const NOT_BY_PYTHON: c_uint = ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION as c_uint;

/// `Py_TPFLAGS_HAVE_VECTORCALL`: declared stable in 3.12, the same since 3.8.
pub(super) const HAVE_VECTORCALL: c_uint = 1 << 11;

/// A type; a size of 0 is that of its base. The slots end with an empty one, and what they point
/// to lives for ever.
pub(super) fn make_type<'py, const N: usize>(
    py: Python<'py>,
    name: &'static CStr,
    size: usize,
    flags: c_uint,
    mut slots: [ffi::PyType_Slot; N],
) -> PyResult<Bound<'py, PyType>> {
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as c_uint | flags,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the specification is complete and ends with an empty slot; what it points to and what
    // the type keeps (name, methods) lives for ever. A new reference or null.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec)) }?;
    Ok(class.cast_into()?)
}
