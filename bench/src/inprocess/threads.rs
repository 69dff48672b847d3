//! One and two threads, on locks of their own and on one lock: what grows with the number of threads.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow};
use concurrent_locks::{LockManager, Mode, Resource};
use tokio::task::unconstrained;

use super::{IDIOM, OURS_HANDLE, OURS_NAMED, TOKIO, found, idiom, names, runtime};
use crate::{
    machine::{cpus, pin},
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
    let locks = LockManager::connect("local:bench-threads")?;
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
        "64 locks per thread, read, in random order; then all threads on one lock.",
        &COLUMNS,
        IDIOM,
        rounds(plan, contenders)?,
    );
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

impl Gate {
    /// Passes per second of this thread, on its own clock: the main thread wakes late when all CPUs are busy.
    fn count(&self, range: (usize, usize), pass: impl Fn(usize) -> Result<()>) -> Result<f64> {
        let (mut dice, mut passes) = (Dice::default(), 0_u64);
        self.start.wait();
        let start = Instant::now();
        while !self.over.load(Ordering::Relaxed) {
            pass(range.0 + below(dice.roll(), range.1))?;
            passes += 1;
        }
        Ok(passes as f64 / start.elapsed().as_secs_f64())
    }

    fn count_awaited(&self, range: (usize, usize), pass: impl AsyncFn(usize) -> Result<()>) -> Result<f64> {
        let (mut dice, mut passes) = (Dice::default(), 0_u64);
        let passing = async {
            self.start.wait();
            let start = Instant::now();
            while !self.over.load(Ordering::Relaxed) {
                pass(range.0 + below(dice.roll(), range.1)).await?;
                passes += 1;
            }
            Ok(passes as f64 / start.elapsed().as_secs_f64())
        };
        runtime()?.block_on(unconstrained(passing))
    }
}

/// `work` counts its passes over `count` locks from `first` on, given as `(first, count)`.
fn contender<'a>(
    plan: Plan,
    name: &str,
    work: impl Fn(&Gate, (usize, usize), Mode) -> Result<f64> + Sync + 'a,
) -> Contender<'a> {
    Contender::new(name, move || {
        let alone = millions(plan, 1, |gate, _| work(gate, (0, OWN), Mode::Read))?;
        let apart = millions(plan, 2, |gate, thread| work(gate, (thread * OWN, OWN), Mode::Read))?;
        let read = millions(plan, 2, |gate, _| work(gate, (0, 1), Mode::Read))?;
        let write = millions(plan, 2, |gate, _| work(gate, (0, 1), Mode::Write))?;
        Ok(vec![alone, apart, apart / alone, read, write])
    })
}

/// Million passes per second of so many threads together, each bound to a CPU of its own.
fn millions(plan: Plan, threads: usize, work: impl Fn(&Gate, usize) -> Result<f64> + Sync) -> Result<f64> {
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
        let rates = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?);
        Ok(rates.sum::<Result<f64>>()? / 1e6)
    })
}
