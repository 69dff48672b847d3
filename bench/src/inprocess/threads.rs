//! One and two threads, on locks of their own and on one lock: what grows with the number of threads.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use concurrent_locks::{LockManager, Mode, Resource};
use tokio::task::unconstrained;

use super::{IDIOM, OURS_HANDLE, OURS_NAMED, TOKIO, found, idiom, names, runtime};
use crate::{
    machine::{cpus, own_time, pin},
    measure::{Contender, Dice, Plan, below, rounds},
    report::{Aim, Table},
};

/// Locks of each thread.
const OWN: usize = 64;

const COLUMNS: [&str; 5] =
    ["1 thread, M/s", "2 threads, own locks, M/s", "of 1 thread", "2 threads, 1 lock, read, M/s", "the same, write"];

pub(crate) fn threads(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let all = names("threads", 2 * OWN);
    let parking_lot: Vec<_> = (0..2 * OWN).map(|_| Padded(parking_lot::RwLock::new(()))).collect();
    let tokio: Vec<_> = (0..2 * OWN).map(|_| Padded(tokio::sync::RwLock::new(()))).collect();
    let map = idiom(&all);
    let locks = LockManager::connect("local:bench-threads").blocking()?;
    let handles: Vec<Resource> = all.iter().map(|name| locks.resource(name)).collect::<Result<_, _>>()?;
    let contenders = vec![
        contender(plan, "parking_lot RwLock", |gate, range, mode| {
            gate.count(range, |index| {
                match mode {
                    Mode::Read => drop(black_box(parking_lot[index].0.read())),
                    Mode::Write => drop(black_box(parking_lot[index].0.write())),
                }
                Ok(())
            })
        }),
        contender(plan, TOKIO, |gate, range, mode| {
            gate.count_awaited(range, async |index| {
                match mode {
                    Mode::Read => drop(black_box(tokio[index].0.read().await)),
                    Mode::Write => drop(black_box(tokio[index].0.write().await)),
                }
                Ok(())
            })
        }),
        contender(plan, IDIOM, |gate, range, mode| {
            gate.count_awaited(range, async |index| {
                let lock = found(&map, &all[index]);
                match mode {
                    Mode::Read => drop(black_box(lock.read_owned().await)),
                    Mode::Write => drop(black_box(lock.write_owned().await)),
                }
                Ok(())
            })
        }),
        contender(plan, OURS_NAMED, |gate, range, mode| {
            gate.count_awaited(range, async |index| {
                drop(black_box(locks.request(&all[index], mode).await?));
                Ok(())
            })
        }),
        contender(plan, OURS_HANDLE, |gate, range, mode| {
            gate.count_awaited(range, async |index| {
                drop(black_box(handles[index].request(mode).await?));
                Ok(())
            })
        }),
    ];
    let table = Table::new(
        "In process, one and two threads: million lock + unlock per second",
        "64 locks per thread, read, in random order, per second of CPU time; then both threads on one lock, wall clock.",
        &COLUMNS,
        IDIOM,
        rounds(plan, contenders)?,
    )
    .without_ratio(2);
    let aims = vec![
        Aim::at_least("2 threads on disjoint keys / 1 thread, by name", 1.8, "x", table.median(OURS_NAMED, 2)),
        Aim::at_least("2 threads on disjoint keys / 1 thread, by handle", 1.8, "x", table.median(OURS_HANDLE, 2)),
    ];
    Ok((table, aims))
}

/// A lock on a cache line of its own, as locks beside the data they guard mostly are.
#[repr(align(128))]
struct Padded<L>(L);

/// Opens for all threads at once, and tells them when to stop.
struct Gate {
    start: Barrier,
    over: AtomicBool,
}

/// How far one thread came, in passes per second.
struct Pace {
    /// Of its CPU time: what others do to a thread that never sleeps is left out.
    own: f64,
    /// Of the time that passed.
    wall: f64,
}

/// A thread's start, on both clocks. The main thread cannot take it: it wakes late when all CPUs are busy.
struct Start(Instant, Duration);

impl Start {
    fn now() -> Start {
        Start(Instant::now(), own_time())
    }

    fn pace(&self, passes: u64) -> Pace {
        let own = (own_time() - self.1).as_secs_f64();
        Pace { own: passes as f64 / own, wall: passes as f64 / self.0.elapsed().as_secs_f64() }
    }
}

impl Gate {
    fn count(&self, range: (usize, usize), pass: impl Fn(usize) -> Result<()>) -> Result<Pace> {
        let (mut dice, mut passes) = (Dice::default(), 0);
        self.start.wait();
        let start = Start::now();
        while !self.over.load(Ordering::Relaxed) {
            pass(range.0 + below(dice.roll(), range.1))?;
            passes += 1;
        }
        Ok(start.pace(passes))
    }

    fn count_awaited(&self, range: (usize, usize), pass: impl AsyncFn(usize) -> Result<()>) -> Result<Pace> {
        let (mut dice, mut passes) = (Dice::default(), 0);
        let passing = async {
            self.start.wait();
            let start = Start::now();
            while !self.over.load(Ordering::Relaxed) {
                pass(range.0 + below(dice.roll(), range.1)).await?;
                passes += 1;
            }
            Ok(start.pace(passes))
        };
        runtime()?.block_on(unconstrained(passing))
    }
}

/// `work` counts its passes over `count` locks from `first` on, given as `(first, count)`.
fn contender<'a>(
    plan: Plan,
    name: &str,
    work: impl Fn(&Gate, (usize, usize), Mode) -> Result<Pace> + Sync + 'a,
) -> Contender<'a> {
    Contender::new(name, move || {
        let alone = together(plan, 1, |gate, _| work(gate, (0, OWN), Mode::Read))?.own;
        let apart = together(plan, 2, |gate, thread| work(gate, (thread * OWN, OWN), Mode::Read))?.own;
        let read = together(plan, 2, |gate, _| work(gate, (0, 1), Mode::Read))?.wall;
        let write = together(plan, 2, |gate, _| work(gate, (0, 1), Mode::Write))?.wall;
        Ok(vec![alone / 1e6, apart / 1e6, apart / alone, read / 1e6, write / 1e6])
    })
}

/// The pace of so many threads together, each bound to a CPU of its own.
fn together(plan: Plan, threads: usize, work: impl Fn(&Gate, usize) -> Result<Pace> + Sync) -> Result<Pace> {
    let gate = Gate { start: Barrier::new(threads + 1), over: AtomicBool::new(false) };
    let cpus = cpus()?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (gate, work, cpu) = (&gate, &work, cpus[thread % cpus.len()]);
                scope.spawn(move || {
                    pin(cpu)?;
                    work(gate, thread)
                })
            })
            .collect();
        gate.start.wait();
        thread::sleep(plan.slice);
        gate.over.store(true, Ordering::Relaxed);
        let mut sum = Pace { own: 0.0, wall: 0.0 };
        for worker in workers {
            let pace = worker.join().map_err(|_| anyhow!("a worker panicked"))??;
            sum.own += pace.own;
            sum.wall += pace.wall;
        }
        Ok(sum)
    })
}
