//! A section that detects overlapping holders.

use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent_locks::Mode;

/// Counts who is inside. Entering fails if a conflicting visitor is there.
#[derive(Debug, Default)]
pub struct Section {
    readers: AtomicUsize,
    writers: AtomicUsize,
    visits: AtomicUsize,
}

impl Section {
    /// Goes in, looks around, lingers a moment, looks again, and leaves.
    ///
    /// # Panics
    /// If somebody is inside who conflicts with `mode`.
    #[track_caller]
    pub fn visit(&self, mode: Mode) {
        let own = if mode == Mode::Write { &self.writers } else { &self.readers };
        own.fetch_add(1, Ordering::SeqCst);
        self.look(mode);
        std::thread::yield_now();
        self.look(mode);
        self.visits.fetch_add(1, Ordering::Relaxed);
        own.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many visits there were.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn look(&self, mode: Mode) {
        let (readers, writers) = (self.readers.load(Ordering::SeqCst), self.writers.load(Ordering::SeqCst));
        let alone = if mode == Mode::Write { readers == 0 && writers == 1 } else { writers == 0 };
        assert!(alone, "{mode} section shared with {readers} readers and {writers} writers");
    }
}
