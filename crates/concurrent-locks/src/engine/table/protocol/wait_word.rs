//! The word in which a waiter and its granter meet, so that no wake-up is lost.
//!
//! ```text
//!            begin                 arm                      sleep returns
//! waiter:  --------> IDLE --------------> ASLEEP / ARMED --------------> IDLE ...
//! granter:           IDLE, ASLEEP, ARMED ------> GRANTED        (and wakes if it was not IDLE)
//! nudger:            ASLEEP, ARMED ------------> NUDGED         (and wakes)
//! waiter:            GRANTED ------------------> ACKNOWLEDGED   (it knows that it holds)
//! next in line:      GRANTED ------------------> PASSED_OVER    (it did not take the lock up in time)
//!                    ASLEEP, ARMED ------------> PASSED_OVER    (nor did its process; and wakes)
//! waiter:            PASSED_OVER --------------> IDLE           (it runs again: it looks at the queue)
//! ```
//!
//! - W1. The record's word is committed to held before the wait word becomes GRANTED.
//! - W2. GRANTED means that a wake-up may still be due: the granter can die between the two. A rebuild
//!   after a death wakes every held record that is not ACKNOWLEDGED again.
//! - W3. A waiter goes to sleep only by the change IDLE -> ASLEEP (ARMED for a future), which fails
//!   if a grant or nudge came first.
//! - W4. A grant is acknowledged by GRANTED -> ACKNOWLEDGED and taken back by GRANTED -> PASSED_OVER, one
//!   exchange each: only one of the two happens. A waiter that trusts its grant has made the first.

use crate::engine::table::protocol::atomic_word::AtomicWord;

/// Queued; nobody sleeps on it.
pub(crate) const IDLE: u32 = 0;
/// The waiter's thread sleeps, or is about to, on this word.
pub(crate) const ASLEEP: u32 = 2;
/// The waiter should look again: it is the victim of a deadlock, or may take a free lock.
pub(crate) const NUDGED: u32 = 3;
/// Granted; the waiter does not know it yet.
pub(crate) const GRANTED: u32 = 4;
/// Granted, and the waiter knows it.
pub(crate) const ACKNOWLEDGED: u32 = 1;
/// The waiter is a future: signal the `wake_count` of its process instead of waking this word.
pub(crate) const ARMED: u32 = 5;

/// The waiter slept through a grant, or its process did. It is granted nothing until it has looked.
pub(crate) const PASSED_OVER: u32 = 6;

/// How a waiter is woken after its word was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// It is awake and will see the word.
    None,
    /// Wake the thread that sleeps on the word.
    Thread,
    /// Wake the future, through its process.
    Future,
}

fn wake(old: u32) -> Wake {
    match old {
        ASLEEP => Wake::Thread,
        ARMED => Wake::Future,
        _ => Wake::None,
    }
}

/// Tells the waiter that it holds the lock. The record's word must say so already (W1).
#[must_use]
pub(crate) fn grant(word: &impl AtomicWord) -> Wake {
    wake(word.replace(GRANTED))
}

/// Tells a sleeping waiter to look again.
#[must_use]
pub(crate) fn nudge(word: &impl AtomicWord) -> Wake {
    for asleep in [ASLEEP, ARMED] {
        if word.change(asleep, NUDGED).is_ok() {
            return wake(asleep);
        }
    }
    Wake::None
}

/// Whether a grant lies there that the waiter has not taken up.
pub(crate) fn is_untaken(word: &impl AtomicWord) -> bool {
    word.get() == GRANTED
}

/// Whether the waiter is left out until it has looked.
pub(crate) fn is_passed_over(word: &impl AtomicWord) -> bool {
    word.get() == PASSED_OVER
}

/// Takes a grant back; `false` if the waiter was faster (W4).
#[must_use]
pub(crate) fn take_back(word: &impl AtomicWord) -> bool {
    word.change(GRANTED, PASSED_OVER).is_ok()
}

/// Leaves a sleeping waiter out until it has looked, and asks it to.
#[must_use]
pub(crate) fn pass_over(word: &impl AtomicWord) -> Wake {
    for asleep in [ASLEEP, ARMED] {
        if word.change(asleep, PASSED_OVER).is_ok() {
            return wake(asleep);
        }
    }
    Wake::None
}

/// What the waiter finds when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It holds the lock (and has acknowledged it).
    Granted,
    /// Somebody wants it to look at the queue.
    Nudged,
    /// Nothing yet. Its word is IDLE.
    Nothing,
}

/// The waiter looks at its word, awake.
pub(crate) fn look(word: &impl AtomicWord) -> Found {
    let mut seen = word.get();
    loop {
        let (to, found) = match seen {
            GRANTED | ACKNOWLEDGED => (ACKNOWLEDGED, Found::Granted),
            NUDGED | PASSED_OVER => (IDLE, Found::Nudged),
            _ => (IDLE, Found::Nothing),
        };
        if seen == to {
            return found;
        }
        match word.change(seen, to) {
            Ok(()) => return found,
            Err(now) => seen = now,
        }
    }
}

/// The waiter announces that it goes to sleep (W3); `false`: look again first.
#[must_use]
pub(crate) fn arm(word: &impl AtomicWord, how: Wake) -> bool {
    let to = if how == Wake::Future { ARMED } else { ASLEEP };
    match word.change(IDLE, to) {
        Ok(()) => true,
        Err(now) => now == to,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_grant_before_the_sleep_is_seen() {
        let word = AtomicU32::new(IDLE);
        assert_eq!(grant(&word), Wake::None);
        assert!(!arm(&word, Wake::Thread));
        assert_eq!(look(&word), Found::Granted);
        assert_eq!(word.get(), ACKNOWLEDGED);
    }

    #[test]
    fn a_grant_during_the_sleep_wakes() {
        for how in [Wake::Thread, Wake::Future] {
            let word = AtomicU32::new(IDLE);
            assert!(arm(&word, how));
            assert_eq!(grant(&word), how);
            assert_eq!(look(&word), Found::Granted);
        }
    }

    #[test]
    fn a_grant_is_taken_up_or_taken_back() {
        let word = AtomicU32::new(IDLE);
        assert!(!take_back(&word), "there is none");
        let _ = grant(&word);
        assert!(take_back(&word));
        assert!(is_passed_over(&word) && !arm(&word, Wake::Thread), "it looks before it sleeps again");
        assert_eq!(look(&word), Found::Nudged);
        let _ = grant(&word);
        assert_eq!(look(&word), Found::Granted);
        assert!(!take_back(&word), "it was taken up");
    }

    #[test]
    fn only_a_sleeper_is_passed_over_without_a_grant() {
        let word = AtomicU32::new(IDLE);
        assert_eq!(pass_over(&word), Wake::None);
        assert!(arm(&word, Wake::Future));
        assert_eq!(pass_over(&word), Wake::Future);
        assert_eq!(look(&word), Found::Nudged);
        let _ = grant(&word);
        assert_eq!(pass_over(&word), Wake::None);
        assert_eq!(look(&word), Found::Granted);
    }

    #[test]
    fn a_nudge_reaches_only_sleepers_and_never_hides_a_grant() {
        let word = AtomicU32::new(IDLE);
        assert_eq!(nudge(&word), Wake::None);
        assert!(arm(&word, Wake::Thread));
        assert_eq!(nudge(&word), Wake::Thread);
        assert_eq!(grant(&word), Wake::None);
        assert_eq!(nudge(&word), Wake::None);
        assert_eq!(look(&word), Found::Granted);
    }
}
