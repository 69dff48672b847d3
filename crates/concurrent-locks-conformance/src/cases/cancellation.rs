//! A dropped future leaves the queue at once and takes nothing with it.

use std::{sync::Arc, task::Waker, time::Duration};

use concurrent_locks::Mode;

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    dropped_before_the_first_poll,
    dropped_while_queued,
    dropped_while_queued_is_seen_at_once [Inspect],
    dropped_in_the_instant_of_the_grant_for_a_writer,
    dropped_in_the_instant_of_the_grant_for_readers,
    a_dropped_reader_of_a_batch_hands_on [Fair],
    a_dropped_head_lets_readers_in [Fair],
    a_dropped_middle_keeps_the_order [Fair],
    a_ready_future_that_is_dropped_releases,
    lock_all_dropped_at_every_point,
    lock_all_dropped_in_the_instant_of_the_grant,
    polling_again_keeps_the_place [Fair],
    the_last_waker_is_woken,
    a_finished_future_that_is_polled_leaks_nothing,
    a_storm_of_cancelled_tasks,
}

fn dropped_before_the_first_poll(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    drop(bench.locks().write("a").into_future());
    drop(bench.locks().write("b").into_future());
    drop(guard);
    bench.assert_free("a");
    bench.assert_free("b");
}

fn dropped_while_queued(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let waiter = Polled::queued(bench.locks().write("a"));
    let mut next = Polled::queued(bench.locks().write("a"));
    drop(waiter);
    next.pending();
    drop(guard);
    drop(next.granted());
    bench.assert_free("a");
}

fn dropped_while_queued_is_seen_at_once(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    for mode in Mode::ALL {
        let waiter = Polled::queued(bench.locks().request("a", mode));
        assert_eq!(bench.waiters("a"), 1);
        drop(waiter);
        assert_eq!(bench.waiters("a"), 0);
    }
}

fn dropped_in_the_instant_of_the_grant_for_a_writer(bench: &Bench) {
    for next_mode in Mode::ALL {
        let guard = bench.locks().write("a").blocking().unwrap();
        let granted = Polled::queued(bench.locks().write("a"));
        let mut next = Polled::queued(bench.locks().request("a", next_mode));
        drop(guard);
        granted.woken();
        drop(granted);
        drop(next.granted());
        bench.assert_free("a");
    }
}

fn dropped_in_the_instant_of_the_grant_for_readers(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let granted = [Polled::queued(bench.locks().read("a")), Polled::queued(bench.locks().read("a"))];
    let mut next = Polled::queued(bench.locks().write("a"));
    drop(guard);
    granted.iter().for_each(Polled::woken);
    drop(granted);
    drop(next.granted());
    bench.assert_free("a");
}

fn a_dropped_reader_of_a_batch_hands_on(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut stays = Polled::queued(bench.locks().read("a"));
    let leaves = Polled::queued(bench.locks().read("a"));
    let mut writer = Polled::queued(bench.locks().write("a"));
    drop(guard);
    let reader = stays.granted();
    drop(leaves);
    writer.pending();
    drop(reader);
    drop(writer.granted());
    bench.assert_free("a");
}

fn a_dropped_head_lets_readers_in(bench: &Bench) {
    let _reader = bench.locks().read("a").blocking().unwrap();
    let head = Polled::queued(bench.locks().write("a"));
    let mut readers = [Polled::queued(bench.locks().read("a")), Polled::queued(bench.locks().read("a"))];
    let mut writer = Polled::queued(bench.locks().write("a"));
    drop(head);
    let _guards = readers.each_mut().map(Polled::granted);
    writer.pending();
}

fn a_dropped_middle_keeps_the_order(bench: &Bench) {
    let mut guard = bench.locks().write("a").blocking().unwrap();
    let mut queue: Vec<_> = (0..5).map(|_| Polled::queued(bench.locks().write("a"))).collect();
    drop(queue.remove(3));
    drop(queue.remove(1));
    while !queue.is_empty() {
        drop(guard);
        guard = queue.remove(0).granted();
        queue.iter_mut().for_each(Polled::pending);
    }
    drop(guard);
    bench.assert_free("a");
}

fn a_ready_future_that_is_dropped_releases(bench: &Bench) {
    let mut free = Polled::new(bench.locks().write("a"));
    drop(free.granted());
    drop(free);
    bench.assert_free("a");
}

fn lock_all_dropped_at_every_point(bench: &Bench) {
    let names = ["a", "b", "c", "d"];
    for busy in names {
        let guard = bench.locks().write(busy).blocking().unwrap();
        let mut all = Polled::queued(bench.locks().lock_all(names.map(|name| (name, Mode::Write))));
        // A server's answers come one after the other.
        until("it waits for the busy one", || {
            all.pending();
            bench.waiters(busy) == 1
        });
        for name in names {
            let expect_held = name <= busy;
            assert_eq!(bench.locks().write(name).try_now().is_err(), expect_held, "{name} while {busy} is busy");
        }
        drop(all);
        drop(guard);
        names.iter().for_each(|name| bench.assert_free(name));
    }
}

fn lock_all_dropped_in_the_instant_of_the_grant(bench: &Bench) {
    let guard = bench.locks().write("b").blocking().unwrap();
    let all = Polled::queued(bench.locks().lock_all(["a", "b", "c"].map(|name| (name, Mode::Write))));
    drop(guard);
    all.woken();
    drop(all);
    ["a", "b", "c"].iter().for_each(|name| bench.assert_free(name));
}

fn polling_again_keeps_the_place(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut first = Polled::queued(bench.locks().write("a"));
    let mut second = Polled::queued(bench.locks().write("a"));
    for _ in 0..10 {
        first.pending();
    }
    drop(guard);
    let guard = first.granted();
    second.pending();
    drop(guard);
    drop(second.granted());
}

fn the_last_waker_is_woken(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut waiter = Polled::new(bench.locks().write("a"));
    // The task moves to another executor: only the waker of the last poll may be counted on.
    assert!(waiter.poll_with(Waker::noop()).is_pending());
    waiter.pending();
    drop(guard);
    waiter.woken();
    drop(waiter.granted());
}

fn a_finished_future_that_is_polled_leaks_nothing(bench: &Bench) {
    // An executor that polls after ready breaks the rules; it may get an error or a new request,
    // and must not get or leave behind a lock that nobody releases.
    let mut granted_at_once = Polled::new(bench.locks().write("a"));
    drop(granted_at_once.granted());
    drop(granted_at_once.poll());
    drop(granted_at_once);
    bench.assert_free("a");
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut queued = Polled::queued(bench.locks().write("a"));
    drop(guard);
    drop(queued.granted());
    drop(queued.poll());
    drop(queued);
    bench.assert_free("a");
}

fn a_storm_of_cancelled_tasks(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let section = Arc::new(crate::section::Section::default());
    let tasks: Vec<_> = (0..32_u64)
        .map(|worker| {
            let (locks, section) = (bench.locks().clone(), section.clone());
            runtime.spawn(async move {
                for round in 0..50 {
                    let mode = if (worker + round) % 3 == 0 { Mode::Read } else { Mode::Write };
                    let patience = Duration::from_micros((worker * 7 + round * 131) % 2000);
                    if let Ok(guard) = tokio::time::timeout(patience, locks.request("a", mode).into_future()).await {
                        let _guard = guard.unwrap();
                        section.visit(mode);
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    bench.assert_free("a");
}
