//! The types of guards: their methods, members and slots, which are in `object.rs`.

use std::{
    ffi::{CStr, c_void},
    mem::offset_of,
    ptr,
};

use pyo3::{ffi, prelude::*, types::PyType};

use super::{
    native::{END, HAVE_VECTORCALL, NOT_BY_PYTHON, make_type, method, slot},
    object::{Object, am_await, am_send, async_exit, call_with_tuple, dealloc, enter, exit, iter, next, same},
    shortcut::add_shortcuts,
};

/// Makes a type of guards.
pub(super) fn guard_type<'py>(py: Python<'py>, name: &'static CStr) -> PyResult<Bound<'py, PyType>> {
    use ffi::PyMethodDefPointer as Function;
    // The type keeps pointers to its methods for ever.
    let methods = Box::leak(Box::new([
        method(c"__enter__", ffi::METH_NOARGS, Function { PyCFunction: enter }),
        method(c"__exit__", ffi::METH_FASTCALL, Function { PyCFunctionFast: exit }),
        method(c"__aenter__", ffi::METH_NOARGS, Function { PyCFunction: same }),
        method(c"__aexit__", ffi::METH_FASTCALL, Function { PyCFunctionFast: async_exit }),
        END,
    ]));
    let members = Box::leak(Box::new([
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(Object, call) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        ffi::PyMemberDef {
            name: c"__weaklistoffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(Object, weak) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        ffi::PyMemberDef::default(),
    ]));
    let slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_am_await, am_await as *mut c_void),
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_iter, iter as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(ffi::Py_tp_call, call_with_tuple as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        ffi::PyType_Slot::default(),
    ];
    let class = make_type(py, name, size_of::<Object>(), NOT_BY_PYTHON | HAVE_VECTORCALL, slots)?;
    add_shortcuts(&class)?;
    Ok(class)
}
