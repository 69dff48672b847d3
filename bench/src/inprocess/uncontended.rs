//! One task or thread acquires and releases free locks: 1, 1,000 and 100,000 of them, in random order.

use std::hint::black_box;

use anyhow::Result;
use concurrent_locks::{LockManager, Mode, Resource};
use tokio::{runtime::Runtime, task::unconstrained};

use super::{IDIOM, OURS_HANDLE, OURS_NAMED, TOKIO, found, idiom, names, runtime};
use crate::{
    measure::{Contender, Plan, below, per_await, per_call, rounds},
    report::{Aim, Table},
};

const COLUMNS: [&str; 4] = ["read, 1 key", "write, 1 key", "read, 1,000 keys", "read, 100,000 keys"];
const OURS_NAMED_BLOCKING: &str = "ours, by name, .blocking()";
const OURS_HANDLE_BLOCKING: &str = "ours, handle, .blocking()";

pub(crate) fn uncontended(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let runtime = &runtime()?;
    let std = threaded(plan, "std RwLock", many::<std::sync::RwLock<()>>, |locks, index, mode| {
        match mode {
            Mode::Read => drop(black_box(locks[index].read())),
            Mode::Write => drop(black_box(locks[index].write())),
        }
        Ok(())
    })?;
    let parking_lot = threaded(plan, "parking_lot RwLock", many::<parking_lot::RwLock<()>>, |locks, index, mode| {
        match mode {
            Mode::Read => drop(black_box(locks[index].read())),
            Mode::Write => drop(black_box(locks[index].write())),
        }
        Ok(())
    })?;
    let async_lock = awaited(
        plan,
        runtime,
        "async-lock RwLock",
        many::<async_lock::RwLock<()>>,
        async |locks: &Vec<async_lock::RwLock<()>>, index, mode| {
            match mode {
                Mode::Read => drop(black_box(locks[index].read().await)),
                Mode::Write => drop(black_box(locks[index].write().await)),
            }
            Ok(())
        },
    )?;
    let tokio = awaited(
        plan,
        runtime,
        TOKIO,
        many::<tokio::sync::RwLock<()>>,
        async |locks: &Vec<tokio::sync::RwLock<()>>, index, mode| {
            match mode {
                Mode::Read => drop(black_box(locks[index].read().await)),
                Mode::Write => drop(black_box(locks[index].write().await)),
            }
            Ok(())
        },
    )?;
    let idiom = awaited(
        plan,
        runtime,
        IDIOM,
        |names| Ok((idiom(names), names.to_vec())),
        async |(map, names): &(super::Idiom, Vec<String>), index, mode| {
            let lock = found(map, &names[index]);
            match mode {
                Mode::Read => drop(black_box(lock.read_owned().await)),
                Mode::Write => drop(black_box(lock.write_owned().await)),
            }
            Ok(())
        },
    )?;
    let named = awaited(plan, runtime, OURS_NAMED, by_name, async |(locks, names): &ByName, index, mode| {
        drop(black_box(locks.request(&names[index], mode).await?));
        Ok(())
    })?;
    let named_blocking = threaded(plan, OURS_NAMED_BLOCKING, by_name, |(locks, names), index, mode| {
        drop(black_box(locks.request(&names[index], mode).blocking()?));
        Ok(())
    })?;
    let handle = awaited(plan, runtime, OURS_HANDLE, by_handle, async |locks: &Vec<Resource>, index, mode| {
        drop(black_box(locks[index].request(mode).await?));
        Ok(())
    })?;
    let handle_blocking = threaded(plan, OURS_HANDLE_BLOCKING, by_handle, |locks, index, mode| {
        drop(black_box(locks[index].request(mode).blocking()?));
        Ok(())
    })?;
    let contenders = vec![std, parking_lot, async_lock, tokio, idiom, named, named_blocking, handle, handle_blocking];
    let table = Table::new(
        "In process, nobody else wants the lock: ns per lock + unlock",
        "Ours records the holder, stamps two times and keeps statistics; the others keep nothing. Awaited on one task.",
        &COLUMNS,
        IDIOM,
        rounds(plan, contenders)?,
    );
    let aims = vec![
        Aim::at_most("named read in process / DashMap + tokio, 1 key", 1.0, "x", table.ratio(OURS_NAMED, IDIOM, 0)),
        Aim::at_most(
            "named read in process / DashMap + tokio, 100,000 keys",
            1.0,
            "x",
            table.ratio(OURS_NAMED, IDIOM, 3),
        ),
        Aim::at_most("read by handle / bare tokio RwLock", 3.0, "x", table.ratio(OURS_HANDLE, TOKIO, 0)),
    ];
    Ok((table, aims))
}

fn many<L: Default>(names: &[String]) -> Result<Vec<L>> {
    Ok(names.iter().map(|_| L::default()).collect())
}

type ByName = (LockManager, Vec<String>);

/// A space per number of keys: a table knows no more names than the peer's map.
fn by_name(names: &[String]) -> Result<ByName> {
    let locks = LockManager::connect(&format!("local:bench-{}", names.len())).blocking()?;
    for name in names {
        drop(locks.read(name).blocking()?);
    }
    Ok((locks, names.to_vec()))
}

fn by_handle(names: &[String]) -> Result<Vec<Resource>> {
    let (locks, names) = by_name(names)?;
    Ok(names.iter().map(|name| locks.resource(name)).collect::<Result<_, _>>()?)
}

/// The locks of one contender at each number of keys.
struct Sets<S>([(S, usize); 3]);

impl<S> Sets<S> {
    fn new(make: impl Fn(&[String]) -> Result<S>) -> Result<Sets<S>> {
        let set = |keys| Ok::<_, anyhow::Error>((make(&names("bench", keys))?, keys));
        Ok(Sets([set(1)?, set(1_000)?, set(100_000)?]))
    }

    /// One figure per column.
    fn figures(&self, figure: impl Fn(&S, usize, Mode) -> Result<f64>) -> Result<Vec<f64>> {
        let [one, some, many] = &self.0;
        let of = |(set, keys): &(S, usize), mode| figure(set, *keys, mode);
        Ok(vec![of(one, Mode::Read)?, of(one, Mode::Write)?, of(some, Mode::Read)?, of(many, Mode::Read)?])
    }
}

/// A contender that blocks its thread.
fn threaded<'a, S: 'a>(
    plan: Plan,
    name: &str,
    make: impl Fn(&[String]) -> Result<S>,
    pass: impl Fn(&S, usize, Mode) -> Result<()> + 'a,
) -> Result<Contender<'a>> {
    let sets = Sets::new(make)?;
    let figure = move |set: &S, keys, mode| match mode {
        Mode::Read => per_call(plan.slice, |roll| pass(set, below(roll, keys), Mode::Read)),
        Mode::Write => per_call(plan.slice, |roll| pass(set, below(roll, keys), Mode::Write)),
    };
    Ok(Contender::new(name, move || sets.figures(&figure)))
}

/// A contender that is awaited. tokio's co-operative budget, which would charge its locks only, is off.
fn awaited<'a, S: 'a>(
    plan: Plan,
    runtime: &'a Runtime,
    name: &str,
    make: impl Fn(&[String]) -> Result<S>,
    pass: impl AsyncFn(&S, usize, Mode) -> Result<()> + 'a,
) -> Result<Contender<'a>> {
    let sets = Sets::new(make)?;
    let figure = move |set: &S, keys, mode| match mode {
        Mode::Read => runtime.block_on(unconstrained(per_await(plan.slice, async |roll| {
            pass(set, below(roll, keys), Mode::Read).await
        }))),
        Mode::Write => runtime.block_on(unconstrained(per_await(plan.slice, async |roll| {
            pass(set, below(roll, keys), Mode::Write).await
        }))),
    };
    Ok(Contender::new(name, move || sets.figures(&figure)))
}
