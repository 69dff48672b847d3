//! Any executor works, several at once, or none.

use std::{
    future::{Future, IntoFuture},
    sync::Arc,
    thread,
    time::Instant,
};

use concurrent_locks::{LockManager, Mode};

use crate::{bench::Bench, case::cases, polled::Polled, section::Section, wait::DEADLINE};

const WORKERS: usize = 8;
const ROUNDS: usize = 60;

cases! {
    on_tokio_with_many_threads,
    on_tokio_with_one_thread,
    on_smol,
    on_a_bare_block_on,
    on_several_at_once,
    one_task_holds_while_another_of_the_same_thread_waits,
    a_future_may_move_between_runtimes,
}

/// What every worker does: contended sections with a pause inside, so that others must wait.
async fn work(locks: LockManager, section: Arc<Section>, worker: usize) {
    for round in 0..ROUNDS {
        let mode = if (worker + round).is_multiple_of(3) { Mode::Write } else { Mode::Read };
        let _guard = locks.request("a", mode).await.expect("a grant");
        section.visit(mode);
        smol::future::yield_now().await;
        section.visit(mode);
    }
}

fn check(bench: &Bench, run: impl FnOnce(Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>)) {
    let section = Arc::new(Section::default());
    let worker = |worker| Box::pin(work(bench.locks().clone(), Arc::clone(&section), worker)) as _;
    run((0..WORKERS).map(worker).collect());
    assert_eq!(section.visits(), WORKERS * ROUNDS * 2);
    bench.assert_free("a");
}

fn on_tokio_with_many_threads(bench: &Bench) {
    check(bench, |futures| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        let tasks: Vec<_> = futures.into_iter().map(|future| runtime.spawn(future)).collect();
        tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    });
}

fn on_tokio_with_one_thread(bench: &Bench) {
    check(bench, |futures| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tasks: Vec<_> = futures.into_iter().map(|future| runtime.spawn(future)).collect();
        tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    });
}

fn on_smol(bench: &Bench) {
    check(bench, |futures| {
        let executor = smol::Executor::new();
        let tasks: Vec<_> = futures.into_iter().map(|future| executor.spawn(future)).collect();
        smol::block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
    });
}

fn on_a_bare_block_on(bench: &Bench) {
    check(bench, |futures| {
        let threads: Vec<_> = futures.into_iter().map(|future| thread::spawn(|| pollster::block_on(future))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn on_several_at_once(bench: &Bench) {
    check(bench, |mut futures| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let on_smol = futures.split_off(6);
        let bare = futures.split_off(3);
        let tasks: Vec<_> = futures.into_iter().map(|future| runtime.spawn(future)).collect();
        let threads: Vec<_> = bare.into_iter().map(|future| thread::spawn(|| pollster::block_on(future))).collect();
        let on_smol: Vec<_> = on_smol.into_iter().map(smol::spawn).collect();
        on_smol.into_iter().for_each(smol::block_on);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    });
}

fn one_task_holds_while_another_of_the_same_thread_waits(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let locks = bench.locks().clone();
    runtime.block_on(async {
        let guard = locks.write("a").await.unwrap();
        let waiter = tokio::spawn(async move { locks.write("a").await.unwrap().token() });
        // It is in the queue, as far as that can be seen, and not only on its way there.
        let start = Instant::now();
        while bench.locks().capabilities().inspect && bench.waiters("a") == 0 {
            assert!(start.elapsed() < DEADLINE, "it does not wait");
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        let token = guard.token();
        drop(guard);
        assert!(waiter.await.unwrap() > token);
    });
    bench.assert_free("a");
}

fn a_future_may_move_between_runtimes(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let locks = bench.locks().clone();
    let mut future = Box::pin(async move { locks.write("a").into_future().await.unwrap() });
    let mut polled = Polled::new(&mut future);
    polled.pending();
    drop(polled);
    let waiting = thread::spawn(move || pollster::block_on(future).token());
    let token = guard.token();
    drop(guard);
    assert!(waiting.join().unwrap() > token);
    bench.assert_free("a");
}
