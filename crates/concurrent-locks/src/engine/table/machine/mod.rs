//! What the machine gives: time that all processes agree on, and sleep.

pub(crate) mod clock;
#[cfg_attr(any(not(target_os = "linux"), concurrent_locks_portable), path = "../portable/kernel.rs")]
pub(crate) mod kernel;
