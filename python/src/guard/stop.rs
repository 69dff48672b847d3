//! `StopIteration(value)`: how an awaitable ends with a value where the interpreter does not call `am_send`,
//! which is so in CPython 3.12 and later.
//!
//! To make an exception costs as much as a third of the lock. So one is raised again and again: a [`Stop`]
//! is a `StopIteration` like any other, but when its last reference goes it is kept for the next time. The
//! interpreter drops it as soon as it has the value. Who iterates by hand may keep it; then another is made.
//!
//! - **S1** What is kept is word for word what it was when it was new: it has no value and no traceback,
//!   context or attribute. So nothing, neither a guard nor a frame, lives on because of it.
//! - **S2** What is kept is not tracked by the garbage collector, which otherwise would clear it when it was part
//!   of a cycle. What is raised is tracked.
//! - **S3** The value is a reference of the exception's own, or null when the garbage collector has cleared it.

#![expect(unsafe_code, reason = "a type made with the C API")]

use std::{ffi::c_void, mem, ptr, slice};

use pyo3::{
    exceptions::PyStopIteration,
    ffi::{self, PyObject},
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};

use super::native::{make_type, slot};
use crate::gil::GilCell;

/// The class of what is raised, and what its instances look like from inside.
struct Stop {
    class: Py<PyType>,
    /// The words of a new instance, without the head.
    new: Vec<usize>,
    /// Which of them is the value.
    value: usize,
    /// Ends an instance.
    end: ffi::destructor,
}

static STOP: PyOnceLock<Stop> = PyOnceLock::new();

/// The one that is kept.
static KEPT: GilCell<Option<Py<PyAny>>> = GilCell::new(None);

/// The words of an object without the head, which is its reference count and its type.
///
/// # Safety
/// The object must have as many.
unsafe fn words(object: *mut PyObject) -> *mut usize {
    // SAFETY: behind the head; the caller's promise.
    unsafe { object.add(1).cast() }
}

/// Makes the class. If exceptions are not as expected, there is none, and [`raise`] makes new ones.
pub(super) fn make(py: Python<'_>) -> PyResult<()> {
    let base = py.get_type::<PyStopIteration>();
    let slots = [
        slot(ffi::Py_tp_base, base.as_ptr().cast()),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        ffi::PyType_Slot::default(),
    ];
    let class = make_type(py, c"concurrent_locks._core.Stop", 0, 0, slots)?;
    // SAFETY: what is in this slot of a type is a destructor, or null.
    let end: Option<ffi::destructor> =
        unsafe { mem::transmute(ffi::PyType_GetSlot(base.as_type_ptr(), ffi::Py_tp_dealloc)) };
    let size: usize = class.getattr("__basicsize__")?.extract()?;
    let count = (size - size_of::<PyObject>()) / size_of::<usize>();
    let (new, with_value) = (class.call0()?, class.call1((&class,))?);
    // SAFETY: instances of this size, of which the allocator and their class have initialised every word.
    let [new_words, words_with_value] =
        [&new, &with_value].map(|object| unsafe { slice::from_raw_parts(words(object.as_ptr()), count) });
    let none = py.None().as_ptr() as usize;
    let value = (0..count).find(|&n| new_words[n] == none && words_with_value[n] == class.as_ptr() as usize);
    let (Some(value), Some(end)) = (value, end) else {
        // Without knowing how, they cannot be ended.
        mem::forget((new, with_value));
        return Ok(());
    };
    let new_words = new_words.to_vec();
    STOP.get_or_init(py, || Stop { class: class.unbind(), new: new_words, value, end });
    Ok(())
}

/// Raises `StopIteration(value)`. The value is borrowed.
pub(super) fn raise(value: &Bound<'_, PyAny>) {
    let py = value.py();
    let Some(stop) = STOP.get(py) else {
        // SAFETY: an exception class and a valid object.
        return unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) };
    };
    let kept = KEPT.open(py).take();
    let exception = match kept {
        Some(kept) => {
            // SAFETY: it is whole, and was not tracked (S2).
            unsafe { ffi::PyObject_GC_Track(kept.as_ptr().cast()) };
            kept.into_ptr()
        }
        None => match stop.class.bind(py).call0() {
            Ok(new) => new.into_ptr(),
            Err(error) => return error.restore(py),
        },
    };
    // SAFETY: an instance of the class, whose value is a reference of its own (S3): the old one, to `None`,
    // is given up. `PyErr_Restore` takes the references to the class and the exception.
    unsafe {
        let place = words(exception).add(stop.value).cast::<*mut PyObject>();
        ffi::Py_DECREF(place.replace(ffi::Py_NewRef(value.as_ptr())));
        ffi::PyErr_Restore(ffi::Py_NewRef(stop.class.as_ptr()), exception, ptr::null_mut());
    }
}

/// The last reference is gone: the value goes, the rest is kept if it is as good as new (S1).
unsafe extern "C" fn dealloc(exception: *mut PyObject) {
    // SAFETY: a `tp_dealloc`, called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // Otherwise it is one of the two of `make`, which stay.
    let Some(stop) = STOP.get(py) else { return };
    // SAFETY: an instance of the class, of which nobody has a reference, and whose value is its own (S3). One that
    // is kept is not tracked (S2) and has a reference again; one that is not is ended as its base says, which
    // expects it tracked, and with it its reference to the class.
    unsafe {
        let words = words(exception);
        let value = words.add(stop.value).cast::<*mut PyObject>().replace(ffi::Py_NewRef(ffi::Py_None()));
        let is_new = slice::from_raw_parts(words, stop.new.len()) == stop.new;
        let mut kept = KEPT.open(py);
        if is_new && kept.is_none() {
            ffi::PyObject_GC_UnTrack(exception.cast());
            ffi::Py_INCREF(exception);
            *kept = Some(Bound::from_owned_ptr(py, exception).unbind());
            drop(kept);
        } else {
            drop(kept);
            (stop.end)(exception);
            ffi::Py_DECREF(stop.class.as_ptr());
        }
        // Python code may run here.
        ffi::Py_XDECREF(value);
    }
}
