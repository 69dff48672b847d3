//! The native half of the Python package `concurrent_locks`: a binding of the crate `concurrent-locks`.
//!
//! No lock logic lives here. This half decides *who asks* ([`owner`], [`context`]), *how a wait is
//! waited* ([`waiting`] on asyncio, [`readiness`] elsewhere, [`blocking`] on a thread) and what a
//! Python guard is ([`guard`]). Shapes, decorators and distributed locks are Python's
//! (`python/concurrent_locks`).
//!
//! Rules:
//! - **G1** Everything here runs with the GIL held, but for wakers and what is inside `Python::detach`.
//! - **G2** No Rust lock is held while Python code may run: allocating can run the garbage collector,
//!   which runs foreign code.
//! - **G3** No thread is started and no engine is opened by the import.

mod blocking;
mod context;
mod error;
mod fork;
mod gil;
mod guard;
mod log;
mod mailbox;
mod manager;
mod owner;
mod pending;
mod readiness;
mod timeout;
mod told;
mod waiting;
mod waking;

use pyo3::prelude::*;

/// The native half of `concurrent_locks`; use the package.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        guard::methods::{
            guard_acquire, guard_acquiring, guard_downgrade, guard_enter_here, guard_held_for, guard_locked,
            guard_mode, guard_owner, guard_release, guard_target, guard_tokens, guard_upgrade, guard_upgrading,
            guard_waited, in_event_loop,
        },
        manager::Manager,
        owner::current_owner,
        readiness::Readiness,
        told::waiting_timeout,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::fork::watch()?;
        crate::guard::object::add_to(module)
    }
}
