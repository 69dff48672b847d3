//! From a release to the waiter that goes on, inside one process: between tasks, and between threads.

use std::{cell::Cell, rc::Rc, sync::Arc, thread};

use anyhow::{Result, anyhow};
use concurrent_locks::{LockManager, Mode, Resource};
use tokio::task::{LocalSet, spawn_local, unconstrained, yield_now};

use super::{OURS_HANDLE, TOKIO, runtime};
use crate::{
    board::Board,
    host::relay,
    machine::{clock, cpus, pin},
    measure::{Contender, Plan, Series, rounds},
    peers::{FutexMutex, Lock},
    report::Table,
};

/// Samples per round between tasks, which are a thousand times faster.
const TASK_SAMPLES: usize = 2_000;

pub(crate) fn handoff(plan: Plan) -> Result<Vec<Table>> {
    let locks = LockManager::connect("local:bench-handoff").blocking()?;
    Ok(vec![tasks(plan, &locks)?, threads(plan, &locks)?])
}

fn tasks(plan: Plan, locks: &LockManager) -> Result<Table> {
    let contenders = vec![
        Contender::new(TOKIO, || {
            let lock = Arc::new(tokio::sync::RwLock::new(()));
            between_tasks(async move || Ok(Arc::clone(&lock).write_owned().await))
        }),
        Contender::new("async-lock RwLock", || {
            let lock = Arc::new(async_lock::RwLock::new(()));
            between_tasks(async move || Ok(lock.write_arc().await))
        }),
        Contender::new(OURS_HANDLE, || {
            let lock = locks.resource("tasks")?;
            between_tasks(async move || Ok(lock.write().await?))
        }),
    ];
    Ok(Table::new(
        "Hand-off between two tasks of one thread, ns from release to acquired",
        "Each task yields while it holds, so that the other one waits.",
        &["median", "p99"],
        TOKIO,
        rounds(plan, contenders)?,
    ))
}

/// Two tasks that pass one lock to and fro: nanoseconds from the one's release to the other's grant.
fn between_tasks<G: 'static>(take: impl AsyncFn() -> Result<G> + 'static) -> Result<Vec<f64>> {
    let released = Rc::new(Cell::new(clock()));
    let take = Rc::new(take);
    let side = || {
        let (released, take) = (Rc::clone(&released), Rc::clone(&take));
        spawn_local(unconstrained(async move {
            let mut samples = Vec::with_capacity(TASK_SAMPLES);
            for _ in 0..TASK_SAMPLES {
                let held = take().await?;
                samples.push((clock() - released.get()) as f64);
                yield_now().await;
                released.set(clock());
                drop(held);
            }
            Ok::<_, anyhow::Error>(samples)
        }))
    };
    let both = async { tokio::try_join!(side(), side()) };
    let (one, other) = runtime()?.block_on(LocalSet::new().run_until(both))?;
    // The first grant and the last one follow no release of the other task.
    let samples = one?.split_off(1).into_iter().chain(other?.split_off(1)).take(2 * TASK_SAMPLES - 3);
    let series = Series::new(samples.collect());
    Ok(vec![series.median(), series.at(0.99)])
}

fn threads(plan: Plan, locks: &LockManager) -> Result<Table> {
    let parking_lot = parking_lot::RwLock::new(());
    let std = std::sync::RwLock::new(());
    let futex = FutexMutex::private();
    let ours = locks.resource("threads")?;
    let contenders = vec![
        Contender::new("bare futex mutex", || between_threads(&futex)),
        Contender::new("std RwLock", || between_threads(&std)),
        Contender::new("parking_lot RwLock", || between_threads(&parking_lot)),
        Contender::new(OURS_HANDLE, || between_threads::<Resource>(&ours)),
    ];
    Ok(Table::new(
        "Hand-off between two threads of one process, us from release to acquired",
        "The waiter sleeps when the lock is released; both threads bound to one CPU, or to two.",
        &["same CPU, median", "p99", "other CPU, median", "p99"],
        "bare futex mutex",
        rounds(plan.at_most(5), contenders)?,
    ))
}

fn between_threads<L: Lock + Sync>(lock: &L) -> Result<Vec<f64>> {
    let cpus = cpus()?;
    let mut figures = Vec::new();
    for waiter in [cpus[0], cpus[1 % cpus.len()]] {
        let board = Board::private();
        thread::scope(|scope| {
            let giver = scope.spawn(|| {
                pin(cpus[0])?;
                relay::give(&board, lock)
            });
            let taker = scope.spawn(|| {
                pin(waiter)?;
                relay::take(&board, lock)
            });
            giver.join().map_err(|_| anyhow!("the giver panicked"))??;
            taker.join().map_err(|_| anyhow!("the taker panicked"))?
        })?;
        figures.extend(relay::figures(&board));
    }
    Ok(figures)
}

impl Lock for parking_lot::RwLock<()> {
    type Held<'a> = parking_lot::RwLockWriteGuard<'a, ()>;

    fn lock(&self, _: Mode) -> Result<Self::Held<'_>> {
        Ok(self.write())
    }
}

impl Lock for std::sync::RwLock<()> {
    type Held<'a> = std::sync::RwLockWriteGuard<'a, ()>;

    fn lock(&self, _: Mode) -> Result<Self::Held<'_>> {
        self.write().map_err(|_| anyhow!("a writer panicked"))
    }
}
