//! What one more waiter, and one more resource, costs when there are many already.

use std::{
    cell::Cell,
    future::Future,
    hint::black_box,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use anyhow::{Result, bail, ensure};
use concurrent_locks::LockManager;

use super::{IDIOM, OURS_NAMED, found, idiom, names};
use crate::{
    machine::own_time,
    measure::{Contender, Plan, per_call, rounds},
    report::{Aim, Table},
};

/// More than this between the smallest and the largest number counts as growth.
const FLAT: f64 = 1.5;

pub(crate) fn growth(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let (waiters, mut aims) = waiters(plan)?;
    let (resources, more) = resources(plan)?;
    aims.extend(more);
    Ok((vec![waiters, resources], aims))
}

const WAITERS: [usize; 4] = [10, 100, 1_000, 10_000];

/// A request that has a queue to stand in.
type Waiting<'a, G> = Pin<Box<dyn Future<Output = Result<G>> + 'a>>;

fn poll<G>(waiting: &mut Waiting<'_, G>) -> Poll<Result<G>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn waiters(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let tokio = Arc::new(tokio::sync::RwLock::new(()));
    let locks = LockManager::connect("local:bench-growth").blocking()?;
    let of_tokio = || -> Waiting<'_, _> { Box::pin(async { Ok(Arc::clone(&tokio).write_owned().await) }) };
    let of_ours = || -> Waiting<'_, _> { Box::pin(async { Ok(locks.write("waiters").await?) }) };
    let ours = "ours: join and leave";
    let ours_next = "ours: release and next grant";
    let contenders = vec![
        Contender::new("tokio RwLock: join and leave", || per_number(|waiters| join(plan, waiters, of_tokio))),
        Contender::new(ours, || per_number(|waiters| join(plan, waiters, of_ours))),
        Contender::new("tokio RwLock: release and next grant", || per_number(|waiters| drain(waiters, of_tokio))),
        Contender::new(ours_next, || per_number(|waiters| drain(waiters, of_ours))),
    ];
    let table = Table::new(
        "One more waiter on one lock, ns, by the number of those who wait already",
        "Writers, polled by hand in one thread.",
        &["10", "100", "1,000", "10,000"],
        "",
        rounds(plan.at_most(5), contenders)?,
    );
    let grown = |row| Some(table.median(row, 3)? / table.median(row, 0)?);
    let aims = vec![
        Aim::at_most("one more waiter: 10,000 / 10 waiters", FLAT, "x", grown(ours)),
        Aim::at_most("release and next grant: 10,000 / 10 waiters", FLAT, "x", grown(ours_next)),
    ];
    Ok((table, aims))
}

fn per_number(figure: impl Fn(usize) -> Result<f64>) -> Result<Vec<f64>> {
    WAITERS.iter().map(|&waiters| figure(waiters)).collect()
}

/// A held lock with so many in its queue.
fn queue<'a, G>(waiters: usize, request: impl Fn() -> Waiting<'a, G>) -> Result<(G, Vec<Waiting<'a, G>>)> {
    let Poll::Ready(held) = poll(&mut request()) else { bail!("a free lock must be granted at once") };
    let mut queue: Vec<_> = (0..waiters).map(|_| request()).collect();
    for waiting in &mut queue {
        ensure!(poll(waiting).is_pending(), "a held lock must not be granted");
    }
    Ok((held?, queue))
}

/// Nanoseconds to join the end of the queue and leave it again.
fn join<'a, G>(plan: Plan, waiters: usize, request: impl Fn() -> Waiting<'a, G>) -> Result<f64> {
    let (held, queue) = queue(waiters, &request)?;
    let time = per_call(plan.slice, |_| {
        let mut waiting = request();
        ensure!(poll(&mut waiting).is_pending(), "a held lock must not be granted");
        Ok(())
    })?;
    // The queue goes first: a release would grant one after the other to futures that nobody polls.
    drop(queue);
    drop(held);
    Ok(time)
}

/// Nanoseconds per grant when the queue is served from its head to its end.
fn drain<'a, G>(waiters: usize, request: impl Fn() -> Waiting<'a, G>) -> Result<f64> {
    // Short queues are served often, so that the clock's own time does not count.
    let times = (1_000 / waiters).max(1);
    let mut nanoseconds = 0.0;
    for _ in 0..times {
        let (held, mut queue) = queue(waiters, &request)?;
        let start = own_time();
        drop(held);
        for waiting in &mut queue {
            match poll(waiting) {
                Poll::Ready(held) => drop(held?),
                Poll::Pending => bail!("the head of the queue was not granted"),
            }
        }
        nanoseconds += (own_time() - start).as_secs_f64() * 1e9;
    }
    Ok(nanoseconds / (times * waiters) as f64)
}

const RESOURCES: [usize; 4] = [1, 100, 10_000, 100_000];

/// New names per round and number.
const NEW: usize = 64;

fn resources(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let hot = |name: &str| format!("{name}: a hot name");
    let new = |name: &str| format!("{name}: a new name");
    let maps = RESOURCES.map(|count| idiom(&names("bench", count)));
    let mut spaces = Vec::new();
    for count in RESOURCES {
        let locks = LockManager::connect(&format!("local:bench-growth-{count}")).blocking()?;
        for name in names("bench", count) {
            drop(locks.read(&name).blocking()?);
        }
        spaces.push(locks);
    }
    let name = &names("bench", 1)[0];
    let take = |lock: Arc<tokio::sync::RwLock<()>>| {
        drop(black_box(lock.try_read_owned()?));
        Ok(())
    };
    let pass = |locks: &LockManager, name: &str| {
        drop(black_box(locks.read(name).blocking()?));
        Ok(())
    };
    let (of_map, of_space) = (Cell::new(0), Cell::new(0));
    let contenders = vec![
        Contender::new(hot(IDIOM), || {
            maps.iter().map(|map| per_call(plan.slice, |_| take(found(map, name)))).collect()
        }),
        Contender::new(hot(OURS_NAMED), || {
            spaces.iter().map(|locks| per_call(plan.slice, |_| pass(locks, name))).collect()
        }),
        Contender::new(new(IDIOM), || {
            let fresh = fresh(&of_map);
            maps.iter().map(|map| each(&fresh, |name| take(map.entry(name.clone()).or_default().clone()))).collect()
        }),
        Contender::new(new(OURS_NAMED), || {
            let fresh = fresh(&of_space);
            spaces.iter().map(|locks| each(&fresh, |name| pass(locks, name))).collect()
        }),
    ];
    let table = Table::new(
        "One resource, ns per lock + unlock, by the number of names known already",
        "Read. The peers' map takes a copy of a new name.",
        &["1", "100", "10,000", "100,000"],
        "",
        rounds(plan, contenders)?,
    );
    let grown = |row: &str, from| Some(table.median(row, 3)? / table.median(row, from)?);
    let aims = vec![
        Aim::at_most("a hot name: 100,000 / 1 names", FLAT, "x", grown(&hot(OURS_NAMED), 0)),
        Aim::at_most("a new name: 100,000 / 100 names", FLAT, "x", grown(&new(OURS_NAMED), 1)),
    ];
    Ok((table, aims))
}

/// Names that no round had before.
fn fresh(used: &Cell<usize>) -> Vec<String> {
    let round = used.replace(used.get() + 1);
    names(&format!("new{round}"), NEW)
}

/// Nanoseconds per name.
fn each(names: &[String], mut pass: impl FnMut(&String) -> Result<()>) -> Result<f64> {
    let start = own_time();
    names.iter().try_for_each(&mut pass)?;
    Ok((own_time() - start).as_secs_f64() * 1e9 / names.len() as f64)
}
