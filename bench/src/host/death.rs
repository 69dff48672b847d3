//! A holder is killed (SIGKILL): when does the process that waits behind it go on?

use std::{fs, hint::black_box, sync::atomic::Ordering, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use concurrent_locks::Mode;

use super::{Role, stage::Stage};
use crate::{
    board::{Bell, Board},
    machine::clock,
    measure::{Contender, Plan, Series, rounds},
    peers::{Kind, Lock},
    report::{Aim, Table},
};

/// A pshared rwlock or a bare futex is lost with its holder, so they are not here.
const KINDS: [Kind; 3] = [Kind::Flock, Kind::Ofd, Kind::Strict];

/// Memory of a large holder, and how much must be free to try it.
const LARGE: usize = 4096;
const NEEDED: usize = 12 * 1024;

pub(crate) fn death(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let kills = if plan.quick { 5 } else { 15 };
    let contenders = KINDS.map(|kind| {
        Contender::new(kind.name(), move || {
            let times = (0..kills).map(|_| kill(kind, 0)).collect::<Result<Vec<_>>>()?;
            let times = Series::new(times);
            Ok(vec![times.median(), times.at(1.0)])
        })
    });
    let small = Table::new(
        "SIGKILL of the holder to the next holder running, ms",
        "One process holds, one waits asleep.",
        &["median", "longest"],
        Kind::Flock.name(),
        rounds(plan.at_most(5), contenders.into())?,
    );
    let ours = Kind::Strict.name();
    let mut aims = vec![Aim::at_most("SIGKILL to the next holder, median", 2.0, " ms", small.median(ours, 0))];
    let mut tables = vec![small];
    let large = "SIGKILL to the next holder, holder with 4 GiB resident";
    if available_mebibytes()? < NEEDED {
        aims.push(Aim::at_most(format!("{large} (too little memory free)"), 10.0, " ms", None));
        return Ok((tables, aims));
    }
    let contenders = KINDS.map(|kind| Contender::new(kind.name(), move || Ok(vec![kill(kind, LARGE)?])));
    let table = Table::new(
        "The same, of a holder with 4 GiB resident, ms",
        "The kernel frees the memory before it drops the file locks.",
        &["median"],
        Kind::Flock.name(),
        rounds(plan.at_most(if plan.quick { 1 } else { 5 }), contenders.into())?,
    );
    aims.push(Aim::at_most(large, 10.0, " ms", table.median(ours, 0)));
    tables.push(table);
    Ok((tables, aims))
}

/// Milliseconds from the kill of a holder to the grant of the waiter.
fn kill(kind: Kind, mebibytes: usize) -> Result<f64> {
    let mut stage = Stage::new(kind, 1)?;
    stage.add(Role::Hold { mebibytes }, None)?;
    stage.add(Role::Inherit, None)?;
    stage.start()?;
    // 1: the holder holds. 2: the heir is about to ask.
    stage.expect(Bell::Turn, 2)?;
    let heir = stage.child(1).id();
    while !asleep(heir)? {
        thread::sleep(Duration::from_micros(200));
    }
    let killed = clock();
    stage.child(0).kill()?;
    stage.join(1)?;
    let granted = stage.board.seat(1)[0].load(Ordering::Acquire);
    ensure!(granted > killed, "the heir had the lock before the holder died");
    Ok((granted - killed) as f64 / 1e6)
}

/// Whether the main thread of a process sleeps.
fn asleep(pid: u32) -> Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')))
}

fn available_mebibytes() -> Result<usize> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes: usize = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("no MemAvailable in /proc/meminfo")?;
    Ok(kibibytes / 1024)
}

pub(super) fn hold<L: Lock>(board: &Board, mebibytes: usize, lock: &L) -> Result<()> {
    // Touched page by page, so that it is resident.
    let mut memory = vec![0_u8; mebibytes << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let _held = lock.lock(Mode::Write)?;
    board.ring(Bell::Turn, 1);
    black_box(&memory);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

pub(super) fn inherit<L: Lock>(board: &Board, seat: usize, lock: &L) -> Result<()> {
    board.wait(Bell::Turn, 1);
    board.ring(Bell::Turn, 2);
    let held = lock.lock(Mode::Write)?;
    board.seat(seat)[0].store(clock(), Ordering::Release);
    drop(held);
    Ok(())
}
