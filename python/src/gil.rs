//! State that the GIL protects.
//!
//! An atomic instruction costs about as much as the rest of a dictionary look-up, and everything here
//! runs with the GIL held anyway (G1).

#![expect(unsafe_code, reason = "the compiler does not know what the GIL protects")]

use std::cell::{RefCell, RefMut};

use pyo3::Python;

/// A cell that may be opened with the GIL held only.
pub(crate) struct GilCell<T>(RefCell<T>);

// SAFETY: the cell is opened with a `Python` token only, so by one thread at a time, as long as it is
// closed before the GIL is given up: no Python code runs, and no `detach`, while it is open (G2).
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub(crate) const fn new(value: T) -> GilCell<T> {
        GilCell(RefCell::new(value))
    }

    /// Opens the cell. Close it before anything that may run Python code (G2).
    #[inline]
    pub(crate) fn open<'a>(&'a self, _py: Python<'a>) -> RefMut<'a, T> {
        self.0.borrow_mut()
    }
}
