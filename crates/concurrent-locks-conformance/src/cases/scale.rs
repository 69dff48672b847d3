//! Many resources, many waiters, and the end of the room.

use concurrent_locks::{ErrorKind, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    a_hundred_thousand_resources_are_held_at_once [Inspect],
    ten_thousand_futures_wait_for_one_lock [Inspect],
    ten_thousand_futures_read_together [Inspect],
    a_full_engine_says_so_and_recovers [Inspect],
    a_full_engine_still_serves_what_is_held [Inspect],
}

fn a_hundred_thousand_resources_are_held_at_once(bench: &Bench) {
    const MANY: usize = 100_000;
    let name = |index: usize| format!("user/{index}/memory");
    let guards: Vec<_> = (0..MANY).map(|index| bench.locks().write(&name(index)).try_now().unwrap()).collect();
    for index in (0..MANY).step_by(997) {
        assert_eq!(guards[index].name().unwrap(), name(index));
        bench.assert_busy(&name(index), Mode::Read);
    }
    assert!(bench.locks().health().unwrap().requests.used >= MANY as u64);
    drop(guards);
    for index in (0..MANY).step_by(997) {
        bench.assert_free(&name(index));
    }
}

fn ten_thousand_futures_wait_for_one_lock(bench: &Bench) {
    const MANY: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let guard = bench.locks().write("a").blocking().unwrap();
    let section = std::sync::Arc::new(crate::section::Section::default());
    let tasks: Vec<_> = (0..MANY)
        .map(|index| {
            let (locks, section) = (bench.locks().clone(), section.clone());
            let mode = if index % 10 == 0 { Mode::Write } else { Mode::Read };
            runtime.spawn(async move {
                let _guard = locks.request("a", mode).await.unwrap();
                section.visit(mode);
            })
        })
        .collect();
    bench.until_waiting("a", MANY);
    drop(guard);
    tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    assert_eq!(section.visits(), MANY);
    bench.assert_free("a");
}

fn ten_thousand_futures_read_together(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut readers: Vec<_> = (0..10_000).map(|_| Polled::queued(bench.locks().read("a"))).collect();
    drop(guard);
    let guards: Vec<_> = readers.iter_mut().map(Polled::granted).collect();
    assert_eq!(bench.status("a").readers, 10_000);
    drop(guards);
    bench.assert_free("a");
}

/// Holds locks until there is no room for one more.
fn fill(bench: &Bench) -> Vec<concurrent_locks::Guard> {
    let room = bench.locks().health().unwrap().resources.capacity;
    let mut guards = Vec::new();
    for index in 0..=room {
        match bench.locks().write(&format!("fill/{index}")).try_now() {
            Ok(guard) => guards.push(guard),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                assert!(error.is_retryable());
                return guards;
            }
        }
    }
    panic!("{} resources are held where {room} have room", guards.len());
}

fn a_full_engine_says_so_and_recovers(bench: &Bench) {
    let mut guards = fill(bench);
    assert!(guards.len() >= 100_000, "full with {} resources", guards.len());
    for round in 0..3 {
        let name = format!("one more/{round}");
        assert_eq!(bench.locks().write(&name).blocking().unwrap_err().kind(), ErrorKind::Full);
        let polled = Polled::new(bench.locks().write(&name)).ready();
        assert_eq!(polled.unwrap_err().kind(), ErrorKind::Full);
        guards.swap_remove(guards.len() / 2).release().unwrap();
        guards.push(bench.locks().write(&name).try_now().unwrap());
    }
    drop(guards);
    drop(bench.locks().write("one more").try_now().unwrap());
    bench.assert_free("one more");
}

fn a_full_engine_still_serves_what_is_held(bench: &Bench) {
    let mut guards = fill(bench);
    let name = guards.last().unwrap().name().unwrap();
    assert!(bench.locks().write(&name).try_now().is_err());
    let freed = guards.swap_remove(0).name().unwrap();
    let again = bench.locks().write(&freed).try_now().unwrap();
    assert_eq!(bench.locks().status_all().unwrap().len(), guards.len() + 1);
    again.release().unwrap();
    assert_eq!(bench.locks().health().unwrap().problems.iter().filter(|it| it.contains("corrupt")).count(), 0);
}
