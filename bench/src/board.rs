//! The board on which processes (or threads) that are measured together meet: when to start, and what came out.

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use anyhow::Result;

use crate::peers::{shared, sleep_while, sys, wake};

/// Words of each seat.
const SEAT_WORDS: usize = 1024;
/// Seats: more than processes in any group.
const SEATS: usize = 40;
const WORDS: &str = "board.words";
const BELLS: &str = "board.bells";

/// Words on which the processes of a group wait for each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bell {
    /// How many are ready.
    Ready = 0,
    /// 0 before the start, 1 while it runs, 2 when it has ended.
    Phase = 16,
    /// The worker that runs now.
    Turn = 32,
}

pub(crate) struct Board {
    words: &'static [AtomicU64],
    bells: &'static [AtomicU32],
}

impl Board {
    /// A board in a folder, to be opened by other processes.
    pub(crate) fn create(folder: &Path) -> Result<Board> {
        File::create(folder.join(WORDS))?.set_len((SEATS * SEAT_WORDS * 8) as u64)?;
        File::create(folder.join(BELLS))?.set_len(4096)?;
        Board::open(folder)
    }

    pub(crate) fn open(folder: &Path) -> Result<Board> {
        let words = sys::map_words(&shared(folder, WORDS)?, SEATS * SEAT_WORDS)?;
        let bells = sys::map_bells(&shared(folder, BELLS)?, 1024)?;
        Ok(Board { words, bells })
    }

    /// A board for the threads of this process. Never freed: there are a few of them.
    pub(crate) fn private() -> Board {
        let words = (0..SEAT_WORDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        let bells = (0..64).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak();
        Board { words, bells }
    }

    /// The words of one process, in which it leaves what it measured.
    pub(crate) fn seat(&self, seat: usize) -> &[AtomicU64] {
        &self.words[seat * SEAT_WORDS..][..SEAT_WORDS]
    }

    pub(crate) fn bell(&self, bell: Bell) -> &AtomicU32 {
        &self.bells[bell as usize]
    }

    pub(crate) fn ring(&self, bell: Bell, value: u32) {
        self.bell(bell).store(value, Ordering::Release);
        wake(self.bell(bell), i32::MAX as u32);
    }

    /// Says that one more is ready.
    pub(crate) fn arrive(&self) {
        self.bell(Bell::Ready).fetch_add(1, Ordering::AcqRel);
        wake(self.bell(Bell::Ready), i32::MAX as u32);
    }

    /// Waits, asleep, until a bell has at least this value. For processes that die with their parent.
    pub(crate) fn wait(&self, bell: Bell, value: u32) {
        let word = self.bell(bell);
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen >= value {
                return;
            }
            sleep_while(word, seen);
        }
    }
}
