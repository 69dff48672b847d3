//! The short lock over a bucket: a futex word that survives its owner.
//!
//! Held for tens of nanoseconds around changes of a bucket's lists. The word names its owner, so that a
//! sleeper can ask the kernel whether the owner is alive and take the lock from a dead one.
//!
//! ```text
//! word = slot + 1 (16 bits) | generation (15 bits) | sleepers (1 bit);   0 = free
//! ```
//!
//! No pthread robust mutex: those name owners by thread id, which collides between PID namespaces
//! (two holders were reproduced), and lose their owner's death when the mapping goes first.
//!
//! - S1. Only the process named in the word changes what the lock covers.
//! - S2. A word is taken from its owner only after the kernel proved the owner dead, by one
//!   compare-and-exchange from the very word that was judged; the process that does so must rebuild.
//! - S3. A sleeper has set the sleepers bit in the word it sleeps on, and a thread that was asleep takes
//!   the lock with the bit set; so a release knows whether it must wake somebody.

use crate::engine::table::protocol::atomic_word::AtomicWord;

const SLEEPERS: u32 = 1;

/// A process as lock words name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) slot: u32,
    /// 15 bits: enough, because a slot's stale words are swept in time (R4 in `recover.rs`).
    pub(crate) generation: u32,
}

impl Name {
    pub(crate) fn new(slot: u32, generation: u32) -> Name {
        Name { slot, generation: generation & 0x7fff }
    }

    #[inline]
    fn word(self) -> u32 {
        (self.slot + 1) << 16 | self.generation << 1
    }

    /// The owner a word names; `None` if it is free or names no slot.
    pub(crate) fn of(word: u32) -> Option<Name> {
        (word >> 16).checked_sub(1).map(|slot| Name { slot, generation: word >> 1 & 0x7fff })
    }
}

/// Takes the lock if it is free.
#[inline]
pub(crate) fn try_lock(word: &impl AtomicWord, me: Name) -> bool {
    word.change(0, me.word()).is_ok()
}

/// Frees the lock; `true` if somebody sleeps and must be woken (S3).
#[inline]
#[must_use]
pub(crate) fn unlock(word: &impl AtomicWord) -> bool {
    word.replace(0) & SLEEPERS != 0
}

/// One attempt of a waiter: takes the lock (with the sleepers bit, S3), or answers the word to
/// sleep on, which has the bit set.
pub(crate) fn lock_or_announce(word: &impl AtomicWord, me: Name) -> Result<(), u32> {
    let mut seen = word.get();
    loop {
        let to = if seen == 0 { me.word() | SLEEPERS } else { seen | SLEEPERS };
        if seen == to {
            return Err(to);
        }
        match word.change(seen, to) {
            Ok(()) if seen == 0 => return Ok(()),
            Ok(()) => return Err(to),
            Err(now) => seen = now,
        }
    }
}

/// Takes the lock from a dead owner: `word_of_dead` is the word that was judged (S2).
pub(crate) fn take_over(word: &impl AtomicWord, word_of_dead: u32, me: Name) -> bool {
    word.change(word_of_dead, me.word() | SLEEPERS).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn the_word_names_its_owner() {
        let me = Name::new(41, 0x1_8003);
        let word = AtomicU32::new(0);
        assert!(try_lock(&word, me));
        assert_eq!(Name::of(word.get()), Some(Name { slot: 41, generation: 3 }));
        assert!(!try_lock(&word, Name::new(1, 1)));
        assert!(!unlock(&word));
        assert_eq!(Name::of(0), None);
    }

    #[test]
    fn a_sleeper_is_not_forgotten() {
        let word = AtomicU32::new(0);
        let (a, b) = (Name::new(1, 1), Name::new(2, 1));
        assert!(try_lock(&word, a));
        let slept_on = lock_or_announce(&word, b).unwrap_err();
        assert_eq!(word.get(), slept_on);
        assert!(unlock(&word), "the release knows of the sleeper");
        assert_eq!(lock_or_announce(&word, b), Ok(()));
        assert!(unlock(&word), "there may be more sleepers");
    }

    #[test]
    fn only_the_judged_word_is_taken_over() {
        let word = AtomicU32::new(0);
        let (dead, me) = (Name::new(1, 1), Name::new(2, 1));
        assert!(try_lock(&word, dead));
        let judged = word.get();
        assert!(!unlock(&word));
        assert!(!take_over(&word, judged, me), "the word changed in between");
        assert!(try_lock(&word, dead));
        assert!(take_over(&word, judged, me));
        assert_eq!(Name::of(word.get()), Some(me));
    }
}
