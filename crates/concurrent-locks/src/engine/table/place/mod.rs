//! Where the table's file lies: making it (F), whose it is, and whether it is the others' (I, X).

#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
pub(crate) mod elsewhere;
#[cfg_attr(any(not(target_os = "linux"), concurrent_locks_portable), path = "../portable/file.rs")]
pub(crate) mod file;
#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
pub(crate) mod file_system;
#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
pub(crate) mod life_bytes;
pub(crate) mod sharing;
pub(crate) mod whereabouts;
