//! One gives a lock away, one that sleeps on it takes it: how long that takes.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use concurrent_locks::Mode;

use crate::{
    board::{Bell, Board},
    machine::clock,
    measure::Series,
    peers::Lock,
};

/// Hand-offs per run.
pub(crate) const SAMPLES: usize = 200;

/// How long the giver holds: long enough for the taker to be asleep on the lock.
const HOLD: Duration = Duration::from_micros(150);

/// Takes the lock, lets the taker queue, gives it away, and waits until the taker has had it.
pub(crate) fn give<L: Lock>(board: &Board, lock: &L) -> Result<()> {
    for round in 0..SAMPLES as u32 {
        let held = lock.lock(Mode::Write)?;
        board.ring(Bell::Turn, 2 * round + 1);
        thread::sleep(HOLD);
        released(board).store(clock(), Ordering::Release);
        drop(held);
        board.wait(Bell::Turn, 2 * round + 2);
    }
    Ok(())
}

/// Queues when the giver holds, and notes how long after the release it went on.
pub(crate) fn take<L: Lock>(board: &Board, lock: &L) -> Result<()> {
    for round in 0..SAMPLES as u32 {
        board.wait(Bell::Turn, 2 * round + 1);
        let held = lock.lock(Mode::Write)?;
        let taken = clock();
        let late = taken.saturating_sub(released(board).load(Ordering::Acquire));
        board.seat(0)[1 + round as usize].store(late, Ordering::Release);
        drop(held);
        board.ring(Bell::Turn, 2 * round + 2);
    }
    Ok(())
}

fn released(board: &Board) -> &AtomicU64 {
    &board.seat(0)[0]
}

/// Median and 99th percentile in microseconds.
pub(crate) fn figures(board: &Board) -> [f64; 2] {
    let samples = &board.seat(0)[1..=SAMPLES];
    let series = Series::new(samples.iter().map(|late| late.load(Ordering::Acquire) as f64 / 1e3).collect());
    [series.median(), series.at(0.99)]
}
