//! Making a history: tasks on a runtime and threads beside it, all in one process.

use std::{thread, time::Duration};

use concurrent_locks::{Begun, Error, ErrorKind, Guard, LockManager, Mode, Request};
use fastrand::Rng;

use crate::history::{Outcome, Record, now};

/// What one process is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where its random numbers start.
    pub seed: u64,
    /// How many tasks share its runtime.
    pub tasks: usize,
    /// How many threads block beside it.
    pub threads: usize,
    /// How many requests each of them makes.
    pub requests: usize,
    /// How many resources they meet on.
    pub names: usize,
}

/// How a request is made.
#[derive(Clone, Copy)]
enum Manner {
    /// Begun first, so that it is known when it had its place.
    Wait,
    /// Awaited at once.
    Await,
    /// With a short time limit.
    Briefly(Duration),
    /// Leaves the queue after it has got its place.
    Cancel,
    Try,
}

/// Does what the plan says; returns what everybody saw.
///
/// # Panics
/// If a request fails in a way that is not part of the game.
#[must_use]
pub fn run(locks: &LockManager, plan: Plan) -> Vec<Record> {
    let random = |worker: usize| Rng::with_seed(plan.seed.wrapping_add(worker as u64));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|worker| scope.spawn(move || pollster::block_on(worker_of(locks.clone(), plan, random(worker)))))
            .collect();
        let tasks: Vec<_> = (0..plan.tasks)
            .map(|worker| runtime.spawn(worker_of(locks.clone(), plan, random(plan.threads + worker))))
            .collect();
        let mut records = Vec::new();
        for thread in threads {
            records.extend(thread.join().expect("a worker thread"));
        }
        for task in tasks {
            records.extend(runtime.block_on(task).expect("a worker task"));
        }
        records
    })
}

async fn worker_of(locks: LockManager, plan: Plan, mut random: Rng) -> Vec<Record> {
    let mut records = Vec::with_capacity(plan.requests);
    for _ in 0..plan.requests {
        let name = format!("history/{}", random.usize(..plan.names));
        let mode = if random.u8(..3) == 0 { Mode::Write } else { Mode::Read };
        let manner = match random.u8(..20) {
            0 => Manner::Briefly(Duration::from_micros(random.u64(..3000))),
            1 => Manner::Cancel,
            2 => Manner::Try,
            3..=7 => Manner::Await,
            _ => Manner::Wait,
        };
        let pauses = random.u8(..4);
        let owner = random.u64(..);
        records.push(Record { owner, ..request(&locks, name, mode, manner, pauses).await });
    }
    records
}

/// One request from beginning to end.
async fn request(locks: &LockManager, name: String, mode: Mode, manner: Manner, pauses: u8) -> Record {
    let asked = now();
    let (placed, result) = match manner {
        Manner::Try => {
            let result = locks.request(&name, mode).try_now();
            (now(), Some(result))
        }
        Manner::Wait => wait(locks.request(&name, mode), false).await,
        Manner::Await => {
            let result = locks.request(&name, mode).await;
            (now(), Some(result))
        }
        Manner::Cancel => wait(locks.request(&name, mode), true).await,
        Manner::Briefly(time) => wait(locks.request(&name, mode).timeout(time), false).await,
    };
    let outcome = match result {
        Some(Ok(guard)) => hold(guard, pauses).await,
        None => Outcome::GaveUp,
        Some(Err(error)) => {
            let expected = match manner {
                Manner::Try => ErrorKind::WouldBlock,
                _ => ErrorKind::TimedOut,
            };
            assert_eq!(error.kind(), expected, "{error}");
            Outcome::GaveUp
        }
    };
    Record { name, mode, owner: 0, asked, placed, outcome }
}

/// Begins a request, notes when it had its place, and awaits it; `None` if it was cancelled there.
async fn wait(request: Request<'_>, cancel: bool) -> (u64, Option<Result<Guard, Error>>) {
    let begun = request.begin();
    let placed = now();
    match begun {
        Ok(Begun::Granted(guard)) => (placed, Some(Ok(guard))),
        Ok(Begun::Queued(_)) if cancel => (placed, None),
        Ok(Begun::Queued(queued)) => (placed, Some(queued.await)),
        Err(error) => (placed, Some(Err(error))),
    }
}

async fn hold(guard: Guard, pauses: u8) -> Outcome {
    let (token, from) = (guard.token(), now());
    for _ in 0..pauses {
        smol::future::yield_now().await;
    }
    let to = now();
    drop(guard);
    Outcome::Held { token, from, to }
}
