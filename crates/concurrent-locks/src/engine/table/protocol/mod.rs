//! The lock-free protocols, alone: the lock over a bucket (S) and the word that a waiter sleeps on (W). They know no
//! table, so that loom can model every schedule of them.

pub(crate) mod atomic_word;
#[cfg(all(test, loom))]
mod loom_models;
pub(crate) mod short_lock;
pub(crate) mod wait_word;
