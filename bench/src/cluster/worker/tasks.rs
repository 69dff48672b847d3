//! Many tasks that share one connection, each with a lock of its own.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use tokio::{runtime::Runtime, task::JoinSet};

use super::{ours, postgres, redis};
use crate::{cluster::Kind, machine::clock};

/// One thread for all tasks, as the cheapest for every contender.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

type Pair = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Pairs that so many tasks make in `slice` nanoseconds, and the nanoseconds it took.
pub(super) fn pairs(kind: Kind, url: &str, tasks: usize, slice: u64) -> Result<(u64, u64)> {
    runtime()?.block_on(async {
        // The same box around every contender's pair.
        match kind {
            Kind::OursRedisAwaited | Kind::OursPostgresAwaited => {
                let manager = ours(url)?;
                let pair = move |task: usize| -> Result<Box<dyn FnMut() -> Pair + Send>> {
                    let lock = Arc::new(manager.resource(&format!("task/{task:04}"))?);
                    Ok(Box::new(move || {
                        let lock = lock.clone();
                        Box::pin(async move { Ok(lock.write().await?.release()?) })
                    }))
                };
                together(tasks, slice, pair).await
            }
            Kind::ScriptsAwaited => {
                let connection = redis::multiplexed(url).await?;
                let calls = Arc::new(redis::calls());
                let pair = move |_| -> Result<Box<dyn FnMut() -> Pair + Send>> {
                    let (connection, calls) = (connection.clone(), calls.clone());
                    Ok(Box::new(move || {
                        let (mut connection, calls) = (connection.clone(), calls.clone());
                        Box::pin(async move {
                            calls[0].query_async::<String>(&mut connection).await?;
                            calls[1].query_async::<String>(&mut connection).await?;
                            Ok(())
                        })
                    }))
                };
                together(tasks, slice, pair).await
            }
            Kind::Rslock => {
                let manager = rslock::LockManager::new(vec![url]);
                let pair = move |task: usize| -> Result<Box<dyn FnMut() -> Pair + Send>> {
                    let (manager, name) = (manager.clone(), format!("task/{task:04}"));
                    Ok(Box::new(move || {
                        let (manager, name) = (manager.clone(), name.clone());
                        Box::pin(async move {
                            let held = manager.acquire_no_guard(name.as_bytes(), Duration::from_secs(60)).await?;
                            manager.unlock(&held).await;
                            Ok(())
                        })
                    }))
                };
                together(tasks, slice, pair).await
            }
            Kind::StatementsAwaited => {
                let connection = Arc::new(postgres::Pipelined::connect(url).await?);
                let pair = move |task: usize| -> Result<Box<dyn FnMut() -> Pair + Send>> {
                    let (connection, id) = (connection.clone(), format!("task/{task:04}"));
                    Ok(Box::new(move || {
                        let (connection, id) = (connection.clone(), id.clone());
                        Box::pin(async move {
                            connection.acquire(&id).await?;
                            connection.release(&id).await
                        })
                    }))
                };
                together(tasks, slice, pair).await
            }
            _ => bail!("{kind:?} has no tasks"),
        }
    })
}

async fn together(
    tasks: usize,
    slice: u64,
    pair: impl Fn(usize) -> Result<Box<dyn FnMut() -> Pair + Send>>,
) -> Result<(u64, u64)> {
    let mut all = JoinSet::new();
    let mut pairs = (0..tasks).map(pair).collect::<Result<Vec<_>>>()?;
    // Names and connections are known before the clock runs.
    for one in &mut pairs {
        one().await?;
    }
    let start = clock();
    for mut one in pairs {
        all.spawn(async move {
            let mut done = 0;
            while clock() < start + slice {
                one().await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(task) = all.join_next().await {
        done += task??;
    }
    Ok((done, clock() - start))
}
