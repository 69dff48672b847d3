//! The native half of the Python package `concurrent_locks`: a binding of the crate `concurrent-locks`.
//!
//! No lock logic lives here. This half decides *the owner* ([`owner`], [`context`]), *how a wait is
//! waited* ([`waiting`] on asyncio, [`readiness`] elsewhere, [`blocking`] on a thread) and what a
//! Python guard is ([`guard`]). Shapes, decorators and distributed locks are Python's
//! (`python/concurrent_locks`).
//!
//! Rules:
//! - **G1** Everything here runs with the GIL held, but for wakers and what is inside `Python::detach`.
//! - **G2** No Rust lock is held while Python code may run: allocating can run the garbage collector,
//!   which runs foreign code.
//! - **G3** No thread is started and no engine is opened by the import. What is made once is made by it (`made.rs`).

mod blocking;
mod context;
mod error;
mod fencing;
mod fork;
mod gil;
mod guard;
mod home;
mod in_the_way;
mod known;
mod lock_methods;
mod log;
mod made;
mod mailbox;
mod manager;
mod names;
mod owner;
mod pending;
mod pipe;
mod readiness;
mod timeout;
mod told;
mod version;
mod waiting;
mod waking;

use pyo3::prelude::*;

/// The native half of `concurrent_locks`; use the package.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        fencing::{FencePassage, fence_write_file},
        fork::forks,
        guard::lease::{Losses, guard_lease, guard_verify},
        guard::methods::{
            guard_acquire, guard_acquiring, guard_begin, guard_copy, guard_downgrade, guard_enter, guard_held_for,
            guard_locked, guard_mode, guard_owner, guard_release, guard_target, guard_tokens, guard_upgrade,
            guard_upgrading, guard_waited,
        },
        manager::Manager,
        owner::current_owner,
        readiness::Readiness,
        told::waiting_timeout,
    };

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const FENCE_SQLITE_SCHEMA: &str = concurrent_locks::fencing::sqlite::SCHEMA;
    #[pymodule_export]
    const FENCE_SQLITE_CHECK: &str = concurrent_locks::fencing::sqlite::CHECK;
    #[pymodule_export]
    const FENCE_SQLITE_REFUSAL: &str = concurrent_locks::fencing::sqlite::REFUSAL;
    #[pymodule_export]
    const FENCE_POSTGRES_SETUP: &str = concurrent_locks::fencing::postgres::SETUP;
    #[pymodule_export]
    const FENCE_POSTGRES_CHECK: &str = concurrent_locks::fencing::postgres::CHECK;
    #[pymodule_export]
    const FENCE_POSTGRES_SQLSTATE: &str = concurrent_locks::fencing::postgres::SQLSTATE;
    #[pymodule_export]
    const FENCE_REDIS_GUARD: &str = concurrent_locks::fencing::redis::GUARD;
    #[pymodule_export]
    const FENCE_REDIS_REFUSAL: &str = concurrent_locks::fencing::redis::REFUSAL;

    /// The GIL, the classes and the caches of this module belong to one interpreter.
    #[expect(unsafe_code, reason = "PyO3 does not tell interpreters apart under abi3")]
    fn refuse_subinterpreters() -> PyResult<()> {
        // SAFETY: the GIL is held while a module is initialised.
        match unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) } {
            0 => Ok(()),
            _ => Err(pyo3::exceptions::PyImportError::new_err(
                "concurrent_locks works in the main interpreter only: use threads or processes instead",
            )),
        }
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_subinterpreters()?;
        crate::fork::watch()?;
        crate::made::make(module.py())?;
        crate::lock_methods::add_to(&module.py().get_type::<Manager>())?;
        crate::guard::object::add_to(module)
    }
}
