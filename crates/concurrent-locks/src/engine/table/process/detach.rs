//! Detaching: a process that ends properly announces it, so that nobody has to detect it.
//!
//! - D1. A process that neither holds nor waits marks its slot as left (O2) and removes its death word:
//!   then the kernel wakes nobody at its end, no new process has to clean up after it, and no death is
//!   counted.
//! - D2. A process that holds or waits keeps its slot as it is. Its locks are freed by the kernel, with its
//!   address space, as when it is killed: until then other threads, later exit handlers and buffered files
//!   may still write under them.
//! - D3. The slot stays the process's own until the kernel frees its byte. A thread that acquires a lock
//!   after D1 excludes others as before; only the end of such a hold is found by polling, not by a mark.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Relaxed, Release},
};

use crate::{
    engine::table::{
        Table,
        map::{
            layout::{Checked, RECORDS_PER_CHUNK},
            word::State,
        },
        process::{attach::Attachment, occupancy, opened},
    },
    os::process_end,
};

/// Has this process, and those it forks, detach when it ends by `exit`.
pub(crate) fn at_exit() {
    // No lock: one that is held at a fork is held in the child for ever.
    static ASKED: AtomicBool = AtomicBool::new(false);
    if !ASKED.swap(true, AcqRel) {
        process_end::at_exit(detach_all);
    }
}

extern "C" fn detach_all() {
    opened::tables().for_each(Table::leave_slot);
}

impl Table {
    /// D1, if this process is attached (a forked child is not: A1).
    pub(crate) fn leave_slot(&self) {
        let Some(me) = self.fork_page.get().filter(|me| me.liveness.is_some()) else { return };
        if self.is_idle(me) != Ok(true) {
            return;
        }
        let Ok(slot) = self.layout.slot(me.slot) else { return };
        occupancy::leave(&slot.state, me.generation);
        if let Some(word) = self.death_word(slot) {
            // The kernel marks only a word that names the thread that ends.
            word.store(0, Release);
        }
    }

    /// Whether no request of this process waits or holds.
    fn is_idle(&self, me: &Attachment) -> Checked<bool> {
        for chunk in 0..self.chunks_used() {
            if self.layout.chunk_owner(chunk)?.load(Relaxed) != me.key() {
                continue;
            }
            for index in chunk * RECORDS_PER_CHUNK..(chunk + 1) * RECORDS_PER_CHUNK {
                if self.layout.record(index)?.word().state() != State::Free {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
