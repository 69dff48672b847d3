//! The seam between the lock-free protocols and the memory they run on: `short_lock.rs` and
//! `wait_word.rs` are written against [`AtomicWord`], so that loom can model them.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire},
};

/// A 32-bit word that several processes change. All loads acquire, all stores release.
pub(crate) trait AtomicWord {
    fn get(&self) -> u32;
    fn replace(&self, value: u32) -> u32;
    /// `Ok` if the word was `from` and is `to` now; else the word as it is.
    fn change(&self, from: u32, to: u32) -> Result<(), u32>;
}

impl AtomicWord for AtomicU32 {
    #[inline]
    fn get(&self) -> u32 {
        self.load(Acquire)
    }

    #[inline]
    fn replace(&self, value: u32) -> u32 {
        self.swap(value, AcqRel)
    }

    #[inline]
    fn change(&self, from: u32, to: u32) -> Result<(), u32> {
        self.compare_exchange(from, to, AcqRel, Acquire).map(drop)
    }
}
