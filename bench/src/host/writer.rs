//! A writer among eight processes that read all the time: does it come in, and how long does it wait?

use std::{sync::atomic::Ordering, thread, time::Duration};

use anyhow::Result;
use concurrent_locks::Mode;

use super::{Role, stage::Stage};
use crate::{
    board::{Bell, Board},
    machine::clock,
    measure::{Contender, Plan, Series, rounds},
    peers::{Kind, Lock},
    report::{Aim, Table},
};

const KINDS: [Kind; 5] = [Kind::Rwlock, Kind::Flock, Kind::Ofd, Kind::Strict, Kind::Window];
const READERS: usize = 8;
const WRITES: usize = 20;
const HOLD: Duration = Duration::from_millis(1);

pub(crate) fn writer(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let limit = Duration::from_secs(if plan.quick { 1 } else { 10 });
    let contenders = KINDS.map(|kind| Contender::new(kind.name(), move || among_readers(kind, limit)));
    let table = Table::new(
        "A writer among 8 looping readers that hold for 1 ms",
        &format!("20 writes, 1 ms apart; \"never\": not within {limit:?}, the wait of the last write."),
        &["writer's wait, ms, median", "longest", "reads/s meanwhile"],
        Kind::Strict.name(),
        rounds(plan.at_most(3), contenders.into())?,
    );
    // One hold of 1 ms, and what the timer of the holder's sleep and one wake-up add.
    let waits = table.median(Kind::Strict.name(), 0);
    Ok((table, vec![Aim::at_most("a writer among 8 readers waits one hold (1 ms + timer + wake)", 1.3, " ms", waits)]))
}

fn among_readers(kind: Kind, limit: Duration) -> Result<Vec<f64>> {
    let mut stage = Stage::new(kind, 1)?;
    stage.add(Role::Write, None)?;
    for _ in 0..READERS {
        stage.add(Role::Read, None)?;
    }
    stage.start()?;
    let start = clock();
    let written = &stage.board.seat(0)[0];
    while written.load(Ordering::Acquire) < WRITES as u64 && clock() - start < limit.as_nanos() as u64 {
        thread::sleep(HOLD);
    }
    let time = (clock() - start) as f64 / 1e9;
    // The writer may wait for ever: it is killed with the stage, and so are the readers.
    let written = written.load(Ordering::Acquire) as usize;
    let reads: u64 = (1..=READERS).map(|seat| stage.board.seat(seat)[0].load(Ordering::Acquire)).sum();
    let waits = &stage.board.seat(0)[1..=written];
    let mut waits: Vec<f64> = waits.iter().map(|wait| wait.load(Ordering::Acquire) as f64 / 1e6).collect();
    waits.resize(WRITES, f64::INFINITY);
    let waits = Series::new(waits);
    Ok(vec![waits.median(), waits.at(1.0), reads as f64 / time])
}

pub(super) fn read<L: Lock>(board: &Board, seat: usize, lock: &L) -> Result<()> {
    while board.bell(Bell::Phase).load(Ordering::Relaxed) < 2 {
        let held = lock.lock(Mode::Read)?;
        thread::sleep(HOLD);
        drop(held);
        board.seat(seat)[0].fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Leaves the number of writes, and how long each one waited.
pub(super) fn write<L: Lock>(board: &Board, seat: usize, lock: &L) -> Result<()> {
    let words = board.seat(seat);
    for write in 0..WRITES {
        thread::sleep(HOLD);
        let asked = clock();
        let held = lock.lock(Mode::Write)?;
        words[1 + write].store(clock() - asked, Ordering::Release);
        drop(held);
        words[0].store(1 + write as u64, Ordering::Release);
    }
    Ok(())
}
