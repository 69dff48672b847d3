//! A record's word (T1): state, mode, slot and sequence in one atomic store.

use std::sync::atomic::Ordering::{Acquire, Release};

use crate::{engine::table::map::layout::Record, words::mode::Mode};

/// A record's word: state (2 bits), mode (2), spare (12), slot (16), sequence (32).
///
/// The sequence is raised each time the record is used for a new request, so a word names one
/// request for ever (2^32 uses of one record apart).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Waiting,
    Held,
}

impl Word {
    pub(crate) fn new(state: State, mode: Mode, slot: u32, sequence: u32) -> Word {
        let state = match state {
            State::Free => 0,
            State::Waiting => 1,
            State::Held => 2,
        };
        Word(state | (mode as u64) << 2 | u64::from(slot & 0xffff) << 16 | u64::from(sequence) << 32)
    }

    pub(crate) fn state(self) -> State {
        match self.0 & 3 {
            1 => State::Waiting,
            2 => State::Held,
            _ => State::Free,
        }
    }

    pub(crate) fn mode(self) -> Mode {
        Mode::from_bits(self.0 >> 2)
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 >> 16) as u32 & 0xffff
    }

    pub(crate) fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[must_use]
    pub(crate) fn with(self, state: State, mode: Mode) -> Word {
        Word::new(state, mode, self.slot(), self.sequence())
    }
}

impl Record {
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    /// The single store that commits a transition (T1).
    pub(crate) fn commit(&self, word: Word) {
        self.word.store(word.0, Release);
    }
}

/// A handle is a record and the sequence of its word: it names one request for ever.
pub(crate) fn handle(index: u32, word: Word) -> u64 {
    u64::from(word.sequence()) << 32 | u64::from(index)
}

pub(crate) fn record_of(handle: u64) -> u32 {
    handle as u32
}
