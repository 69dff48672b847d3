//! Ids of owners, which no other thread, process or forked child draws.

use std::cell::Cell;

use crate::os::fork_generation::ForkGeneration;

thread_local! {
    /// The id drawn last, and the process that drew it.
    static LAST_ANONYMOUS: Cell<Option<(ForkGeneration, u64)>> = const { Cell::new(None) };
}

/// 64 bits from the operating system's generator. Not from std's hasher keys: a forked child continues with
/// its parent's.
///
/// # Panics
/// If the system has no random numbers: ids that two processes share would let both in.
#[cold]
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|error| panic!("the system has no random numbers: {error}"))
}

/// An id for a request without an owner.
///
/// Ids count up from a random start per thread, so they collide with no other thread's or process's id (two
/// of a million running counters collide with a chance of about 2^-24 per 10^6 ids each), and no shared
/// counter slows threads down. A forked child draws again: it must not repeat its parent's ids, nor those
/// of another child.
#[inline]
pub(crate) fn anonymous() -> u64 {
    let process = ForkGeneration::current();
    LAST_ANONYMOUS.with(|last| {
        let start = last.get().filter(|(drawn_by, _)| *drawn_by == process).map_or_else(random, |(_, id)| id);
        let id = start.wrapping_add(1);
        last.set(Some((process, id)));
        id | 1 << 63
    })
}

/// A label for display: owners without one are named after their process.
pub(crate) fn label_text(label: String, pid: u32) -> String {
    if label.is_empty() { format!("pid {pid}") } else { label }
}
