//! Forks: a child forgets who its parent's tasks and threads were.
//!
//! The locks themselves are the crate's business. What is cached here (owners, running loops) carries
//! the epoch it was made in, and is not used in another one. `os.register_at_fork` is not asked: it
//! does not see forks by other extension modules.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::{PyResult, pyfunction};

static EPOCH: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between this process and the one that imported the module.
#[inline]
pub(crate) fn epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

/// How many forks lie between this process and the one that imported the module: a pid can be that of the parent, in
/// a new PID namespace.
#[pyfunction]
pub(crate) fn forks() -> u64 {
    epoch()
}

/// Makes forked children count.
#[cfg(unix)]
#[expect(unsafe_code, reason = "libc offers no safe way to learn of a fork")]
pub(crate) fn watch() -> PyResult<()> {
    extern "C" fn in_child() {
        EPOCH.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler is async-signal-safe (one atomic addition) and lives as long as the process,
    // because CPython unloads no extension module.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(error).into()),
    }
}

#[cfg(not(unix))]
pub(crate) fn watch() -> PyResult<()> {
    Ok(())
}
