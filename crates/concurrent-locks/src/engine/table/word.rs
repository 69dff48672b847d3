//! A record's word (T1): state, mode, slot and sequence in one atomic store.

use std::sync::atomic::Ordering::{Acquire, Release};

use super::layout::Record;
use crate::words::mode::Mode;

/// A record's word: state (2 bits), mode (2), spare (12), slot (16), sequence (32).
///
/// The sequence is raised each time the record is used for a new request, so a word names one
/// request for ever (2^32 uses of one record apart).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Waiting,
    Held,
}

impl Word {
    pub(super) fn new(state: State, mode: Mode, slot: u32, sequence: u32) -> Word {
        let state = match state {
            State::Free => 0,
            State::Waiting => 1,
            State::Held => 2,
        };
        Word(state | (mode as u64) << 2 | u64::from(slot & 0xffff) << 16 | u64::from(sequence) << 32)
    }

    pub(super) fn state(self) -> State {
        match self.0 & 3 {
            1 => State::Waiting,
            2 => State::Held,
            _ => State::Free,
        }
    }

    pub(super) fn mode(self) -> Mode {
        Mode::from_bits(self.0 >> 2)
    }

    pub(super) fn slot(self) -> u32 {
        (self.0 >> 16) as u32 & 0xffff
    }

    pub(super) fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[must_use]
    pub(super) fn with(self, state: State, mode: Mode) -> Word {
        Word::new(state, mode, self.slot(), self.sequence())
    }
}

impl Record {
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    /// The single store that commits a transition (T1).
    pub(super) fn commit(&self, word: Word) {
        self.word.store(word.0, Release);
    }
}
