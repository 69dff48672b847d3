//! Pipes that wake waiters in an event loop or a greenlet.
//!
//! - **P1** In a forked child nothing is done to a pipe of its parent's: it is not written, read, or closed. A daemon
//!   closes all descriptors, and then its number is that of a file of its own.
//! - **P2** None is at 0, 1 or 2: what a program prints would go into it.

use std::{
    ffi::c_int,
    io::{self, PipeReader, PipeWriter, Read, Write},
};

use pyo3::PyResult;

use crate::fork;

/// One end of a pipe.
pub(crate) struct End<T> {
    epoch: u64,
    /// Taken out by `drop` only.
    end: Option<T>,
}

impl<T> End<T> {
    fn new(end: T) -> End<T> {
        End { epoch: fork::epoch(), end: Some(end) }
    }

    /// `None` in a forked child (P1).
    fn ours(&self) -> Option<&T> {
        self.end.as_ref().filter(|_| self.epoch == fork::epoch())
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let is_ours = self.ours().is_some();
        let end = self.end.take();
        if !is_ours {
            // P1: it stays open, unless the child has closed it.
            std::mem::forget(end);
        }
    }
}

/// A pipe: where it is read, and where it is rung.
pub(crate) fn pipe() -> io::Result<(End<PipeReader>, End<PipeWriter>)> {
    let (reader, writer) = io::pipe()?;
    Ok((End::new(above_stdio(reader, PipeReader::try_clone)?), End::new(above_stdio(writer, PipeWriter::try_clone)?)))
}

/// A copy, if it is at 0, 1 or 2 (P2): std makes copies above.
#[cfg(unix)]
fn above_stdio<T: std::os::fd::AsRawFd>(end: T, copy: fn(&T) -> io::Result<T>) -> io::Result<T> {
    if end.as_raw_fd() > 2 { Ok(end) } else { copy(&end) }
}

#[cfg(not(unix))]
fn above_stdio<T>(end: T, _copy: fn(&T) -> io::Result<T>) -> io::Result<T> {
    Ok(end)
}

impl End<PipeWriter> {
    /// Makes it readable. One byte in an empty pipe never blocks; it fails only if nobody waits any more.
    pub(crate) fn ring(&self) {
        if let Some(mut end) = self.ours() {
            let _ = end.write_all(&[1]);
        }
    }
}

impl End<PipeReader> {
    /// Takes the byte out that is in it.
    pub(crate) fn take(&self) -> io::Result<()> {
        self.ours().map_or(Ok(()), |mut end| end.read_exact(&mut [0]))
    }

    /// What becomes readable.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> PyResult<c_int> {
        use std::os::fd::AsRawFd;
        match self.ours() {
            Some(end) => Ok(end.as_raw_fd()),
            None => Err(pyo3::exceptions::PyRuntimeError::new_err("this wait for a lock is the parent process's")),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn descriptor(&self) -> PyResult<c_int> {
        Err(pyo3::exceptions::PyNotImplementedError::new_err("waiting in an asyncio loop needs a Unix system"))
    }
}
