//! Waiting: the word (W), whom to watch (B), by thread (P), by future (H), and waits that never end (G).

pub(crate) mod ahead;
pub(crate) mod graph;
pub(crate) mod hub;
pub(crate) mod park;
