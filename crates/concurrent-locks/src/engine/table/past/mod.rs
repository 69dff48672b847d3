//! What is kept of the past (E): counters, histograms, the last operations, events.

pub(crate) mod events;
pub(crate) mod history;
