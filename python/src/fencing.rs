//! Fences beside files. `concurrent_locks/fencing.py` is their public interface.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use concurrent_locks::fencing::{self, Passage};
use pyo3::prelude::*;

use crate::error::OrRaise;

/// Replaces a file's content. Other threads run meanwhile: it waits for the disk.
#[pyfunction]
#[pyo3(signature = (path, token, contents, /))]
pub(crate) fn fence_write_file(py: Python<'_>, path: PathBuf, token: u64, contents: &[u8]) -> PyResult<()> {
    py.detach(|| fencing::write_file(path, token, contents)).or_raise(py)
}

/// The right to write to a path, until it ends.
#[pyclass(frozen, module = "concurrent_locks._core")]
pub(crate) struct FencePassage {
    path: PathBuf,
    /// `None` when it has ended.
    passage: Mutex<Option<Passage>>,
}

#[pymethods]
impl FencePassage {
    #[new]
    #[pyo3(signature = (path, token, /))]
    fn new(py: Python<'_>, path: PathBuf, token: u64) -> PyResult<FencePassage> {
        let passage = py.detach(|| fencing::pass(path, token)).or_raise(py)?;
        Ok(FencePassage { path: passage.path().to_owned(), passage: Mutex::new(Some(passage)) })
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn end(&self) {
        drop(self.passage.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
