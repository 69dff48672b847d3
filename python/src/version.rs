//! Versions of dictionaries: whether one has changed since, for the price of a load.
//!
//! CPython 3.11 to 3.13 write a new number into a dictionary with every change, one that no dictionary has had before.
//! Later versions do not. No function tells it, so the import tries out whether it is where it was in all of these
//! versions; if not, nobody asks for versions, and things are looked up instead.
//!
//! - **V1** The same version is the same dictionary with the same contents.

#![expect(unsafe_code, reason = "CPython tells nobody the version of a dictionary")]

use pyo3::{ffi, prelude::*, types::PyDict};

/// Which word of a dictionary it is, the head (reference count and type) included.
const PLACE: usize = 3;

/// The version of a dictionary, if [`are_known`].
///
/// # Safety
/// The GIL must be held, and the object be a dictionary of the interpreter's own class.
#[inline]
pub(crate) unsafe fn of(dictionary: *mut ffi::PyObject) -> u64 {
    // SAFETY: a dictionary has at least so many words (`are_known`), which are written with the GIL held only.
    unsafe { dictionary.cast::<u64>().add(PLACE).read() }
}

/// Whether dictionaries of this Python have versions.
pub(crate) fn are_known(py: Python<'_>) -> PyResult<bool> {
    let class = py.get_type::<PyDict>();
    let size: usize = class.getattr("__basicsize__")?.extract()?;
    let of_these = py.version_info() >= (3, 11) && py.version_info() < (3, 14);
    if !of_these || size < (PLACE + 1) * size_of::<u64>() {
        return Ok(false);
    }
    let (tried, another) = (PyDict::new(py), PyDict::new(py));
    // SAFETY: a dictionary that is large enough, and the GIL is held.
    let version = |dictionary: &Bound<'_, PyDict>| unsafe { of(dictionary.as_ptr()) };
    let mut seen = vec![version(&another), version(&tried)];
    for (key, value) in [("a", 0), ("b", 0), ("a", 1), ("b", 1)] {
        tried.set_item(key, value)?;
        seen.push(version(&tried));
    }
    tried.del_item("a")?;
    seen.push(version(&tried));
    tried.clear();
    seen.push(version(&tried));
    let stays = tried.get_item("a")?.is_none() && Some(&version(&tried)) == seen.last();
    let changes = seen.len();
    seen.sort_unstable();
    seen.dedup();
    Ok(stays && seen.len() == changes)
}
