//! Many resources, many waiters, and exhausted capacity.

use std::task::Poll;

use concurrent_locks::{ErrorKind, Guard, LockManager, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    very_many_resources_are_held_at_once [Inspect],
    very_many_resources_are_known_at_once [Inspect],
    very_many_futures_wait_for_one_lock [Inspect],
    very_many_futures_read_together [Inspect],
    when_resources_run_out_it_says_so_and_recovers [Inspect, Capacity],
    when_requests_run_out_it_says_so_and_recovers [Inspect, Capacity],
    a_waiter_without_room_gets_an_error_at_once [Inspect, Capacity],
    idle_resources_make_room [Inspect, Capacity],
    a_process_without_room_gets_an_error [AcrossProcesses, Inspect, Capacity],
}

/// As many where they lie in memory; fewer on a server, where each costs round trips: many times what fits into one
/// of its answers (64 names).
fn many(bench: &Bench, in_memory: usize, on_a_server: usize) -> usize {
    if bench.locks().capabilities().lease { on_a_server } else { in_memory }
}

fn very_many_resources_are_held_at_once(bench: &Bench) {
    let many = many(bench, 100_000, 2_000);
    let locks = bench.with_room(131_072);
    let name = |index: usize| format!("user/{index}/memory");
    let guards: Vec<_> = (0..many).map(|index| locks.write(&name(index)).try_now().unwrap()).collect();
    for index in (0..many).step_by(997) {
        assert_eq!(guards[index].name().unwrap(), name(index));
        assert_eq!(locks.read(&name(index)).try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert!(locks.health().blocking().unwrap().requests.used >= many as u64);
    drop(guards);
    assert_eq!(
        locks.lock_all([(name(0).as_str(), Mode::Write), (&name(many - 1), Mode::Write)]).try_now().unwrap().len(),
        2
    );
}

fn very_many_resources_are_known_at_once(bench: &Bench) {
    let many = many(bench, 100_000, 2_000);
    let name = |index: usize| format!("user/{index}/memory");
    for index in 0..many {
        drop(bench.locks().write(&name(index)).try_now().unwrap());
    }
    let all = bench.locks().statistics_all().blocking().unwrap();
    assert_eq!(all.len(), many);
    assert!(all.values().all(|modes| modes[&Mode::Write].total_acquisitions == 1));
}

fn very_many_futures_wait_for_one_lock(bench: &Bench) {
    let many = many(bench, 10_000, 1_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let guard = bench.locks().write("a").blocking().unwrap();
    let section = std::sync::Arc::new(crate::section::Section::default());
    let tasks: Vec<_> = (0..many)
        .map(|index| {
            let (locks, section) = (bench.locks().clone(), section.clone());
            let mode = if index % 10 == 0 { Mode::Write } else { Mode::Read };
            runtime.spawn(async move {
                let _guard = locks.request("a", mode).await.unwrap();
                section.visit(mode);
            })
        })
        .collect();
    bench.until_waiting("a", many);
    drop(guard);
    tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    assert_eq!(section.visits(), many);
    bench.assert_free("a");
}

fn very_many_futures_read_together(bench: &Bench) {
    let many = many(bench, 10_000, 1_000);
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut readers: Vec<_> = (0..many).map(|_| Polled::queued(bench.locks().read("a"))).collect();
    drop(guard);
    let guards: Vec<_> = readers.iter_mut().map(Polled::granted).collect();
    assert_eq!(bench.status("a").readers, many);
    drop(guards);
    bench.assert_free("a");
}

/// Holds locks, each of another name, until there is no room for one more.
fn fill(locks: &LockManager) -> Vec<Guard> {
    let mut guards = Vec::new();
    loop {
        match locks.write(&format!("fill/{}", guards.len())).try_now() {
            Ok(guard) => guards.push(guard),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                assert!(error.is_retryable());
                return guards;
            }
        }
        assert!(guards.len() < 10_000, "an engine with so little room is never full");
    }
}

fn when_resources_run_out_it_says_so_and_recovers(bench: &Bench) {
    runs_out(&bench.with_capacity("resources=64&requests=4096"), 64);
}

fn when_requests_run_out_it_says_so_and_recovers(bench: &Bench) {
    runs_out(&bench.with_capacity("resources=4096&requests=64"), 64);
}

fn runs_out(locks: &LockManager, room: usize) {
    let mut guards = fill(locks);
    assert_eq!(guards.len(), room);
    for round in 0..3 {
        let name = format!("one more/{round}");
        assert_eq!(locks.write(&name).blocking().unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(Polled::new(locks.write(&name)).ready().unwrap_err().kind(), ErrorKind::Full);
        guards.swap_remove(round * 7).release().unwrap();
        guards.push(locks.write(&name).try_now().unwrap());
    }
    // What is held is still locked, seen and released.
    let name = guards[1].name().unwrap();
    assert_eq!(locks.status(&name).blocking().unwrap().unwrap().holders[0].token, guards[1].token());
    assert_ne!(locks.health().blocking().unwrap().resources.used, 0);
    drop(guards);
    assert_eq!(fill(locks).len(), room, "all the room is there again");
}

fn a_waiter_without_room_gets_an_error_at_once(bench: &Bench) {
    let locks = bench.with_capacity("resources=64&requests=64");
    let guard = locks.write("a").blocking().unwrap();
    let mut waiters = Vec::new();
    let refused = loop {
        let mut waiter = Polled::new(locks.write("a"));
        match waiter.poll() {
            Poll::Pending => waiters.push(waiter),
            Poll::Ready(result) => break result.unwrap_err(),
        }
    };
    assert_eq!((refused.kind(), waiters.len()), (ErrorKind::Full, 63), "{refused}");
    drop(guard);
    waiters.iter_mut().for_each(|waiter| waiter.granted().release().unwrap());
}

fn idle_resources_make_room(bench: &Bench) {
    let locks = bench.with_capacity("resources=64&requests=4096");
    let held = locks.write("held").blocking().unwrap();
    for index in 0..10_000 {
        locks.write(&format!("passing/{index}")).blocking().unwrap().release().unwrap();
    }
    assert!(locks.status_all().blocking().unwrap().len() <= 64);
    assert_eq!(locks.status("held").blocking().unwrap().unwrap().holders[0].token, held.token());
    held.release().unwrap();
}

fn a_process_without_room_gets_an_error(bench: &Bench) {
    let url = bench.url_with_capacity("processes=2");
    let [mut one, mut two] = [0; 2].map(|_| bench.taker_with(Some(&url), &[]));
    one.take("write a");
    two.take("write b");
    assert_eq!(LockManager::connect(&url).blocking().unwrap_err().kind(), ErrorKind::Full);
    // The dead make room.
    one.kill();
    let locks = LockManager::connect(&url).blocking().unwrap();
    drop(locks.write("a").blocking().unwrap());
    assert_eq!(locks.write("b").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
}
