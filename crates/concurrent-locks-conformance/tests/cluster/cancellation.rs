//! Waits that are cancelled at random points leave nothing behind at the server.

use std::{
    future::{IntoFuture, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use concurrent_locks::{ErrorKind, LockManager, Mode};
use fastrand::Rng;

use crate::{
    on_both_servers,
    stage::{Server, Stage},
};

on_both_servers! {
    ten_thousand_cancelled_waits_leave_nothing,
}

const WAITS: usize = 10_000;
const TASKS: usize = 40;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One request that ends in one of the ways in which a future can.
async fn wait_and_leave(locks: &LockManager, rng: &mut Rng) {
    let name = NAMES[rng.usize(..NAMES.len())];
    let request = locks.request(name, Mode::ALL[rng.usize(..2)]).priority(rng.i8(-1..=1));
    let moment = Duration::from_micros(rng.u64(..4000));
    let granted = match rng.u8(..4) {
        // Dropped after so many polls, however soon they come.
        0 => {
            let mut future = pin!(request.into_future());
            let mut polls = rng.u8(1..4);
            poll_fn(|context| match future.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => {
                    polls -= 1;
                    context.waker().wake_by_ref();
                    if polls == 0 { Poll::Ready(None) } else { Poll::Pending }
                }
            })
            .await
        }
        // Dropped at a random moment.
        1 => tokio::time::timeout(moment, request.into_future()).await.ok(),
        // Given up by itself, and perhaps dropped while it does that.
        2 => {
            let request = request.timeout(moment);
            tokio::time::timeout(moment + Duration::from_micros(rng.u64(..2000)), request.into_future()).await.ok()
        }
        // Never dropped while it waits.
        _ => Some(request.await),
    };
    match granted {
        None => {}
        Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
        Some(Ok(guard)) => {
            if rng.bool() {
                tokio::time::sleep(moment / 4).await;
            }
            drop(guard);
        }
    }
}

fn ten_thousand_cancelled_waits_leave_nothing<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near("10s");
    let seed = std::env::var("CONFORMANCE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("CONFORMANCE_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let locks = Arc::new(bench.locks().clone());
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (locks, mut rng) = (Arc::clone(&locks), Rng::with_seed(seed.wrapping_add(task as u64)));
                tokio::spawn(async move {
                    for _ in 0..WAITS / TASKS {
                        wait_and_leave(&locks, &mut rng).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    stage.until_nothing_is_left();
    for name in NAMES {
        bench.assert_free(name);
    }
}
