//! Resident memory per resource and per waiter, each weighed in a process of its own.

use std::{
    fs,
    future::Future,
    hint::black_box,
    process::Command,
    sync::Arc,
    task::{Context as Polling, Waker},
};

use anyhow::{Context, Result, ensure};
use concurrent_locks::LockManager;
use serde::{Deserialize, Serialize};

use super::{IDIOM, TOKIO, idiom, names};
use crate::{
    host::folder,
    measure::{Contender, Plan, rounds},
    peers::url,
    report::Table,
};

const RESOURCES: usize = 100_000;
const WAITERS: usize = 10_000;
const OURS_LOCAL: &str = "ours, local:";
const OURS_HOST: &str = "ours, host:";

/// What a process loads to be weighed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Cargo {
    /// The idiom's map with [`RESOURCES`] locks.
    Map,
    /// So many of ours, taken once each.
    Resources { url: String },
    /// [`WAITERS`] futures that wait for a tokio lock.
    TokioWaiters,
    /// As many that wait for one of ours.
    Waiters { url: String },
}

pub(crate) fn memory(plan: Plan) -> Result<Vec<Table>> {
    let plan = plan.at_most(3);
    let local = || "local:bench-memory".to_owned();
    let resources = vec![
        contender(IDIOM, || Ok((Cargo::Map, None))),
        contender(OURS_LOCAL, move || Ok((Cargo::Resources { url: local() }, None))),
        contender(OURS_HOST, || {
            let folder = folder()?;
            Ok((Cargo::Resources { url: url(folder.path()) }, Some(folder)))
        }),
    ];
    let waiters = vec![
        contender(TOKIO, || Ok((Cargo::TokioWaiters, None))),
        contender(OURS_LOCAL, move || Ok((Cargo::Waiters { url: local() }, None))),
        contender(OURS_HOST, || {
            let folder = folder()?;
            Ok((Cargo::Waiters { url: url(folder.path()) }, Some(folder)))
        }),
    ];
    Ok(vec![
        Table::new(
            "Resident memory per resource, bytes",
            "100,000 locks that were taken once; our statistics and history are in it.",
            &["bytes"],
            IDIOM,
            rounds(plan, resources)?,
        ),
        Table::new(
            "Resident memory per waiter, bytes",
            "10,000 futures that wait for one lock, boxed.",
            &["bytes"],
            TOKIO,
            rounds(plan, waiters)?,
        ),
    ])
}

/// The folder, if there is one, lives until the process has been weighed.
fn contender<'a>(name: &str, cargo: impl Fn() -> Result<(Cargo, Option<tempfile::TempDir>)> + 'a) -> Contender<'a> {
    Contender::new(name, move || {
        let (cargo, _folder) = cargo()?;
        let output =
            Command::new(std::env::current_exe()?).arg("weigh").arg(serde_json::to_string(&cargo)?).output()?;
        ensure!(output.status.success(), "weighing failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(vec![String::from_utf8(output.stdout)?.trim().parse().context("the weight is a number")?])
    })
}

/// Loads the cargo into this process: bytes of resident memory per piece.
pub(crate) fn weigh(cargo: &Cargo) -> Result<f64> {
    match cargo {
        Cargo::Map => {
            let names = names("bench", RESOURCES);
            let before = resident()?;
            let map = idiom(&names);
            let after = resident()?;
            black_box(map);
            Ok((after - before) / RESOURCES as f64)
        }
        Cargo::Resources { url } => {
            let names = names("bench", RESOURCES);
            let locks = LockManager::connect(url).blocking()?;
            let before = resident()?;
            for name in &names {
                drop(locks.read(name).blocking()?);
            }
            Ok((resident()? - before) / RESOURCES as f64)
        }
        Cargo::TokioWaiters => {
            let lock = Arc::new(tokio::sync::RwLock::new(()));
            let _held = Arc::clone(&lock).try_write_owned()?;
            queue(async || drop(lock.write().await))
        }
        Cargo::Waiters { url } => {
            let locks = LockManager::connect(url).blocking()?;
            let _held = locks.write("weigh").blocking()?;
            queue(async || drop(locks.write("weigh").await))
        }
    }
}

fn queue(wait: impl AsyncFn()) -> Result<f64> {
    let mut waiters = Vec::with_capacity(WAITERS);
    let before = resident()?;
    for _ in 0..WAITERS {
        let mut waiter = Box::pin(wait());
        ensure!(
            waiter.as_mut().poll(&mut Polling::from_waker(Waker::noop())).is_pending(),
            "a held lock must not be granted"
        );
        waiters.push(waiter);
    }
    Ok((resident()? - before) / WAITERS as f64)
}

/// Resident memory of this process in bytes.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0)
}
