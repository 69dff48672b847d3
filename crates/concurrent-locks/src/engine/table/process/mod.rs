//! A process in the table: attaching (A), who is alive (L), its records, its end in good order (D).

pub(crate) mod attach;
pub(crate) mod detach;
pub(crate) mod in_place;
#[cfg_attr(any(not(target_os = "linux"), concurrent_locks_portable), path = "../portable/liveness.rs")]
pub(crate) mod liveness;
pub(crate) mod occupancy;
pub(crate) mod opened;
pub(crate) mod records;
pub(crate) mod sleepers;
#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
pub(crate) mod tree;
