//! Memory of guards that are gone, for the next ones: a lock is taken as often as a guard is made.

#![expect(unsafe_code, reason = "memory of objects made with the C API")]

use pyo3::{
    ffi::{self, PyObject},
    prelude::*,
};

use crate::gil::GilCell;

/// Memory from `PyObject_Malloc` with room for a guard.
struct Memory(*mut PyObject);

// SAFETY: it is memory and nothing else; Python's allocator is used with the GIL held (G1).
unsafe impl Send for Memory {}

static SPARE: GilCell<Vec<Memory>> = GilCell::new(Vec::new());

/// How much of it is kept.
const SPARE_GUARDS: usize = 64;

/// Room for a guard, which is always of this size; null if there is none.
#[inline]
pub(super) fn take(py: Python<'_>, size: usize) -> *mut PyObject {
    let spare = SPARE.open(py).pop();
    // SAFETY: the GIL is held.
    spare.map_or_else(|| unsafe { ffi::PyObject_Malloc(size).cast() }, |spare| spare.0)
}

/// The guard there is gone.
///
/// # Safety
/// The memory must be from [`take`], and nobody use it any more.
#[inline]
pub(super) unsafe fn give(py: Python<'_>, memory: *mut PyObject) {
    let mut spare = SPARE.open(py);
    if spare.len() < SPARE_GUARDS {
        spare.push(Memory(memory));
    } else {
        drop(spare);
        // SAFETY: from Python's allocator; the caller's promise.
        unsafe { ffi::PyObject_Free(memory.cast()) };
    }
}
