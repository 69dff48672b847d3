//! `guard.__enter__` and `guard.__exit__` as objects that lie inside their guard.
//!
//! `with` looks both up before it calls them. To make and drop a bound method costs as much as a third of the lock, so
//! each guard has two of its own, which only come to life.
//!
//! - **BM1** One that is alive has references and keeps its guard alive. One that is not has none, and is not in use.

#![expect(unsafe_code, reason = "a type made with the C API")]

use std::{
    ffi::{c_int, c_void},
    mem::{MaybeUninit, offset_of},
    ptr,
};

use pyo3::{
    ffi::{self, PyObject},
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};

use super::native::{HAVE_VECTORCALL, NOT_BY_PYTHON, make_type, slot};

/// A method of the guard in which it lies.
#[repr(C)]
pub(super) struct Method {
    base: PyObject,
    call: ffi::vectorcallfunc,
    /// Where in its guard it lies.
    offset: usize,
}

static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();

impl Method {
    /// One that is not alive.
    #[inline]
    pub(super) fn new(call: ffi::vectorcallfunc, offset: usize) -> Method {
        // SAFETY: zeros are an object without references and type, at which nobody looks (BM1).
        Method { base: unsafe { MaybeUninit::zeroed().assume_init() }, call, offset }
    }

    /// The guard of a method.
    ///
    /// # Safety
    /// The method must lie in a guard.
    #[inline]
    pub(super) unsafe fn guard(method: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { method.byte_sub((*method.cast::<Method>()).offset) }
    }

    /// A new reference to it; null before the module is initialised.
    ///
    /// # Safety
    /// The method must lie in a guard that is alive, and the GIL be held.
    #[inline]
    pub(super) unsafe fn new_reference(method: *mut Method) -> *mut PyObject {
        let method = method.cast::<PyObject>();
        // SAFETY: the caller's promise; one that is not alive is initialised, with one reference, and then keeps its
        // guard alive (BM1).
        unsafe {
            if ffi::Py_REFCNT(method) > 0 {
                return ffi::Py_NewRef(method);
            }
            let Some(class) = METHOD.get(Python::assume_attached()) else { return ptr::null_mut() };
            ffi::Py_INCREF(Method::guard(method));
            ffi::PyObject_Init(method, class.as_ptr().cast())
        }
    }
}

/// The last reference is gone: it is not alive any more, and the guard's goes (BM1).
unsafe extern "C" fn dealloc(method: *mut PyObject) {
    // SAFETY: a `tp_dealloc` of an instance of the class, which lies in a guard that it keeps alive.
    unsafe {
        let class = ffi::Py_TYPE(method);
        ffi::Py_DECREF(class.cast());
        ffi::Py_DECREF(Method::guard(method));
    }
}

/// A call by who has a tuple.
unsafe extern "C" fn call(method: *mut PyObject, arguments: *mut PyObject, keywords: *mut PyObject) -> *mut PyObject {
    // SAFETY: a `tp_call`: a tuple, and a dictionary or null.
    unsafe {
        let count = ffi::PyTuple_Size(arguments);
        if count > 3 || (!keywords.is_null() && ffi::PyDict_Size(keywords) > 0) {
            return wrong();
        }
        let mut places = [ptr::null_mut(); 3];
        for (place, index) in places.iter_mut().zip(0..count) {
            *place = ffi::PyTuple_GetItem(arguments, index);
        }
        ((*method.cast::<Method>()).call)(method, places.as_ptr(), count as usize, ptr::null_mut())
    }
}

/// The error of a call with other arguments.
#[cold]
pub(super) fn wrong() -> *mut PyObject {
    let text = c"__enter__ takes no arguments, __exit__ the exception's type, value and traceback";
    // SAFETY: called with the GIL held only, as methods are.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_TypeError, text.as_ptr()) };
    ptr::null_mut()
}

/// Makes the class.
pub(super) fn make(py: Python<'_>) -> PyResult<()> {
    let members = Box::leak(Box::new([
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET as c_int,
            offset: offset_of!(Method, call) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        ffi::PyMemberDef::default(),
    ]));
    let slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_call, call as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        ffi::PyType_Slot::default(),
    ];
    let flags = NOT_BY_PYTHON | HAVE_VECTORCALL;
    let class = make_type(py, c"concurrent_locks._core.GuardMethod", size_of::<Method>(), flags, slots)?;
    METHOD.get_or_init(py, || class.unbind());
    Ok(())
}
