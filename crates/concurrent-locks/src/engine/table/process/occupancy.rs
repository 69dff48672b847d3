//! A slot's state word: whether a living process uses the slot, has left it properly, or none does.
//!
//! ```text
//! word = kind (2 bits) | the occupant's generation, its low 30 bits
//!
//! FREE --enter--> LIVE --leave--> LEFT          (by the occupant)
//!                 LIVE or LEFT --vacate--> FREE  (by the process that cleaned up after it)
//! ```
//!
//! - O1. The word names the occupant, so a reaper that was stopped for long cannot free the slot of a new
//!   process: `vacate` exchanges the very word that was judged.
//! - O2. LEFT says that its occupant held nothing and waited for nothing when it began to end. It does not
//!   prove a death: the slot belongs to its process until the kernel frees the byte (L1).

use std::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const LIVE: u32 = 1;
const LEFT: u32 = 2;

/// What a state word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupancy {
    Free,
    Live,
    Left,
}

impl Occupancy {
    pub(crate) fn of(word: u32) -> Occupancy {
        match word & 3 {
            LIVE => Occupancy::Live,
            LEFT => Occupancy::Left,
            _ => Occupancy::Free,
        }
    }
}

/// The occupant is complete: others may rely on what the slot says.
pub(crate) fn enter(state: &AtomicU32, generation: u32) {
    state.store(LIVE | generation << 2, Release);
}

/// The occupant ends, and leaves nothing behind.
pub(crate) fn leave(state: &AtomicU32, generation: u32) {
    let _ = state.compare_exchange(LIVE | generation << 2, LEFT | generation << 2, AcqRel, Relaxed);
}

/// Nobody lives there any more: `judged` is the word that was there when the death was proved (O1).
/// `true` for the one who freed it.
pub(crate) fn vacate(state: &AtomicU32, judged: u32) -> bool {
    state.compare_exchange(judged, 0, AcqRel, Acquire).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reaper_does_not_free_the_slot_of_a_newcomer() {
        let state = AtomicU32::new(0);
        enter(&state, 7);
        let judged = state.load(Acquire);
        assert_eq!(Occupancy::of(judged), Occupancy::Live);
        assert!(vacate(&state, judged));
        enter(&state, 8);
        assert!(!vacate(&state, judged), "somebody else was faster, and the next one lives there");
        assert_eq!(Occupancy::of(state.load(Acquire)), Occupancy::Live);
    }

    #[test]
    fn only_the_occupant_leaves() {
        let state = AtomicU32::new(0);
        enter(&state, 7);
        leave(&state, 6);
        assert_eq!(Occupancy::of(state.load(Acquire)), Occupancy::Live);
        leave(&state, 7);
        assert_eq!(Occupancy::of(state.load(Acquire)), Occupancy::Left);
    }
}
