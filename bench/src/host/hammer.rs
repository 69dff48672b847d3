//! Many processes that want one lock, or one of 64, all the time, with nothing to do inside.

use std::{sync::atomic::Ordering, thread, time::Duration};

use anyhow::Result;
use concurrent_locks::Mode;

use super::{Role, stage::Stage};
use crate::{
    board::{Bell, Board},
    machine::{clock, cpus},
    measure::{Contender, Dice, Plan, below, rounds},
    peers::{Kind, Lock},
    report::{Aim, Table},
};

const KINDS: [Kind; 6] = [Kind::Futex, Kind::Rwlock, Kind::Flock, Kind::Ofd, Kind::Strict, Kind::Window];

/// Processes and locks.
const CASES: [(usize, usize); 4] = [(2, 1), (8, 1), (32, 1), (8, 64)];

pub(crate) fn hammer(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let (mut tables, mut aims) = (Vec::new(), Vec::new());
    for (processes, locks) in CASES {
        let contenders = KINDS.map(|kind| Contender::new(kind.name(), move || together(plan, kind, processes, locks)));
        let what = if locks == 1 { "one lock".to_owned() } else { format!("{locks} locks") };
        let table = Table::new(
            &format!("{processes} processes hammer {what}, write, empty sections"),
            "Share: passes of the slowest process / of the fastest. Longest wait: between two passes of one process.",
            &["thousand passes/s", "longest wait, ms", "share"],
            Kind::Rwlock.name(),
            rounds(plan.at_most(if plan.quick { 3 } else { 5 }), contenders.into())?,
        )
        .without_ratio(2);
        if (processes, locks) == (8, 1) {
            let ratio = |kind: Kind| table.ratio(kind.name(), Kind::Rwlock.name(), 0);
            aims.push(Aim::at_least("8 processes on one lock, window / pshared rwlock", 0.8, "x", ratio(Kind::Window)));
        }
        tables.push(table);
    }
    Ok((tables, aims))
}

fn together(plan: Plan, kind: Kind, processes: usize, locks: usize) -> Result<Vec<f64>> {
    let cpus = cpus()?;
    let mut stage = Stage::new(kind, locks)?;
    for process in 0..processes {
        stage.add(Role::Hammer, Some(cpus[process % cpus.len()]))?;
    }
    stage.start()?;
    thread::sleep(if plan.quick { Duration::from_millis(150) } else { Duration::from_millis(500) });
    stage.stop();
    (0..processes).try_for_each(|process| stage.join(process))?;
    let word = |process, index: usize| stage.board.seat(process)[index].load(Ordering::Acquire);
    let all = |index| (0..processes).map(move |process| word(process, index));
    let time = all(3).max().unwrap_or(0) - all(2).min().unwrap_or(0);
    let (most, least) = (all(0).max().unwrap_or(0), all(0).min().unwrap_or(0));
    Ok(vec![
        all(0).sum::<u64>() as f64 / (time as f64 / 1e9) / 1e3,
        all(1).max().unwrap_or(0) as f64 / 1e6,
        least as f64 / most as f64,
    ])
}

/// Passes until it has ended; leaves their number, the longest time between two, and when it began and ended.
pub(super) fn passes<L: Lock>(board: &Board, seat: usize, locks: &[L]) -> Result<()> {
    let (mut dice, mut passes, mut longest) = (Dice::default(), 0, 0);
    // Neighbours begin with other locks.
    (0..seat).for_each(|_| _ = dice.roll());
    let phase = board.bell(Bell::Phase);
    let start = clock();
    let mut last = start;
    while phase.load(Ordering::Relaxed) < 2 {
        let held = locks[below(dice.roll(), locks.len())].lock(Mode::Write)?;
        let now = clock();
        drop(held);
        longest = longest.max(now - last);
        last = now;
        passes += 1;
    }
    for (word, value) in board.seat(seat).iter().zip([passes, longest, start, clock()]) {
        word.store(value, Ordering::Release);
    }
    Ok(())
}
