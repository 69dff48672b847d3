//! A bucket: the lock over it (S), the names in it, their queues (Q), and its recovery (R).

pub(crate) mod locked;
pub(crate) mod queue;
pub(crate) mod recover;
pub(crate) mod resources;
