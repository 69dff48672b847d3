//! The counters add up.

use std::{thread, time::Duration};

use concurrent_locks::{Mode, Statistics};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

/// What is a long wait here.
const LONG: Duration = Duration::from_millis(20);

cases! {
    acquisitions_are_releases_and_holders [Inspect],
    counts_add_up_under_contention [Inspect],
    re_entries_are_counted [Inspect],
    upgrades_are_counted [Inspect, Upgrade],
    waits_and_holds_are_measured [Inspect],
    timeouts_are_counted [Inspect],
    cancelled_requests_are_errors [Inspect],
    busy_tries_are_not_errors [Inspect],
    the_last_hundred_operations_are_kept [Inspect],
    operations_say_who_and_what [Inspect],
    refusals_without_a_wait_are_operations [Inspect],
    one_resource_can_be_reset [Inspect],
    all_resources_can_be_reset [Inspect],
    every_resource_has_its_own [Inspect],
}

fn of(bench: &Bench, name: &str, mode: Mode) -> Statistics {
    bench
        .locks()
        .statistics(name)
        .blocking()
        .unwrap()
        .remove(&mode)
        .unwrap_or_else(|| Statistics::unused(name.to_owned(), mode))
}

fn assert_adds_up(bench: &Bench, name: &str) {
    for mode in Mode::ALL {
        let it = of(bench, name, mode);
        assert_eq!(it.total_acquisitions, it.total_releases + it.current_holders, "{it:?}");
        let ordered = |times: [Duration; 3]| times.is_sorted();
        assert!(ordered([it.min_wait, it.avg_wait, it.max_wait]), "{it:?}");
        assert!(ordered([it.min_hold, it.avg_hold, it.max_hold]), "{it:?}");
        assert!(it.p50_wait <= it.p99_wait && it.p50_hold <= it.p99_hold, "{it:?}");
    }
}

fn acquisitions_are_releases_and_holders(bench: &Bench) {
    for _ in 0..7 {
        drop(bench.locks().read("a").blocking().unwrap());
    }
    for _ in 0..3 {
        drop(bench.locks().write("a").try_now().unwrap());
    }
    let guards = [bench.locks().read("a").blocking().unwrap(), bench.locks().read("a").blocking().unwrap()];
    let waiter = Polled::queued(bench.locks().write("a"));
    let (read, write) = (of(bench, "a", Mode::Read), of(bench, "a", Mode::Write));
    assert_eq!((read.resource_name.as_str(), read.mode), ("a", Mode::Read));
    assert_eq!((write.resource_name.as_str(), write.mode), ("a", Mode::Write));
    assert_eq!((read.total_acquisitions, read.total_releases, read.current_holders), (9, 7, 2));
    assert_eq!((write.total_acquisitions, write.total_releases, write.current_holders), (3, 3, 0));
    assert_eq!((read.current_waiters, write.current_waiters), (0, 1));
    assert_adds_up(bench, "a");
    drop((waiter, guards));
    assert_adds_up(bench, "a");
}

fn counts_add_up_under_contention(bench: &Bench) {
    thread::scope(|scope| {
        for worker in 0..6 {
            scope.spawn(move || {
                for round in 0..200 {
                    let mode = if (worker + round) % 4 == 0 { Mode::Write } else { Mode::Read };
                    let request = bench.locks().request("a", mode);
                    drop(if round % 2 == 0 { request.blocking() } else { pollster::block_on(request.into_future()) });
                }
            });
        }
    });
    let (read, write) = (of(bench, "a", Mode::Read), of(bench, "a", Mode::Write));
    assert_eq!((read.total_acquisitions, write.total_acquisitions), (900, 300));
    assert_eq!((read.total_releases, write.total_releases), (900, 300));
    assert_eq!((read.total_errors, write.total_errors, read.total_timeouts, write.total_timeouts), (0, 0, 0, 0));
    assert_adds_up(bench, "a");
}

fn re_entries_are_counted(bench: &Bench) {
    let owner = bench.owner("agent");
    let outer = owner.write("a").blocking().unwrap();
    let inner = owner.write("a").blocking().unwrap();
    assert_eq!(of(bench, "a", Mode::Write).total_acquisitions, 2);
    assert_adds_up(bench, "a");
    drop((outer, inner));
    assert_eq!(of(bench, "a", Mode::Write).total_releases, 2);
    assert_adds_up(bench, "a");
}

fn upgrades_are_counted(bench: &Bench) {
    let mut guard = bench.locks().read("a").blocking().unwrap();
    guard.upgrade().blocking().unwrap();
    assert_eq!(of(bench, "a", Mode::Write).total_acquisitions, 1);
    assert_adds_up(bench, "a");
    drop(guard);
    let (read, write) = (of(bench, "a", Mode::Read), of(bench, "a", Mode::Write));
    assert_eq!((read.total_acquisitions, write.total_acquisitions), (1, 1));
    assert_eq!((read.total_releases, write.total_releases), (1, 1));
}

fn waits_and_holds_are_measured(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a"));
    until("it has waited", || bench.status("a").waiters[0].waited > LONG);
    drop(guard);
    drop(waiter.granted());
    let it = of(bench, "a", Mode::Write);
    assert!(it.min_wait < LONG && it.max_wait >= LONG, "one waited, one did not: {it:?}");
    assert!(it.p99_wait >= LONG * 3 / 4, "{it:?}");
    assert!(it.max_hold >= LONG, "{it:?}");
    assert_adds_up(bench, "a");
}

fn timeouts_are_counted(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let short = Duration::from_millis(10);
    for _ in 0..3 {
        bench.locks().read("a").timeout(short).blocking().unwrap_err();
    }
    bench.locks().write("a").timeout(short).blocking().unwrap_err();
    drop(guard);
    let (read, write) = (of(bench, "a", Mode::Read), of(bench, "a", Mode::Write));
    assert_eq!((read.total_timeouts, write.total_timeouts), (3, 1));
    assert_eq!((read.total_acquisitions, write.total_acquisitions), (0, 1));
}

fn cancelled_requests_are_errors(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    drop(Polled::queued(bench.locks().read("a")));
    drop(guard);
    let read = of(bench, "a", Mode::Read);
    assert_eq!((read.total_errors, read.total_acquisitions, read.current_waiters), (1, 0, 0));
}

fn busy_tries_are_not_errors(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    for _ in 0..5 {
        bench.assert_busy("a", Mode::Read);
    }
    drop(guard);
    let read = of(bench, "a", Mode::Read);
    assert_eq!((read.total_errors, read.total_timeouts, read.total_acquisitions), (0, 0, 0));
}

fn the_last_hundred_operations_are_kept(bench: &Bench) {
    let mut last_token = 0;
    for _ in 0..80 {
        let guard = bench.locks().write("a").blocking().unwrap();
        last_token = guard.token();
    }
    let operations = of(bench, "a", Mode::Write).recent_operations;
    assert_eq!(operations.len(), 100);
    assert!(operations.is_sorted_by(|earlier, later| earlier.at <= later.at), "oldest first");
    let kinds: Vec<_> = operations.iter().map(|operation| operation.kind.as_str()).collect();
    assert!(kinds.chunks(2).all(|pair| pair == ["acquire", "release"]), "{kinds:?}");
    assert_eq!(operations.last().unwrap().token, last_token);
}

fn operations_say_who_and_what(bench: &Bench) {
    let owner = bench.owner("agent-7");
    let guard = owner.write("a").blocking().unwrap();
    bench.locks().read("a").timeout(Duration::from_millis(10)).blocking().unwrap_err();
    drop(Polled::queued(bench.locks().read("a")));
    let token = guard.token();
    drop(guard);
    let write = of(bench, "a", Mode::Write).recent_operations;
    let [acquire, release] = &write[..] else { panic!("not two operations: {write:?}") };
    assert_eq!((acquire.kind.as_str(), release.kind.as_str()), ("acquire", "release"));
    for operation in [acquire, release] {
        assert_eq!((operation.requester.as_str(), operation.mode), ("agent-7", Mode::Write));
        assert_eq!(operation.token, token);
    }
    assert!(
        acquire.waited.is_some() && release.held.is_some_and(|held| held >= Duration::from_millis(10)),
        "{write:?}"
    );
    let read = of(bench, "a", Mode::Read).recent_operations;
    let kinds: Vec<_> = read.iter().map(|operation| operation.kind.as_str()).collect();
    assert_eq!(kinds, ["timeout", "error"]);
    assert!(read[0].waited.is_some_and(|waited| waited >= Duration::from_millis(10)), "{read:?}");
}

fn refusals_without_a_wait_are_operations(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    bench.owner("agent-7").read("a").timeout(Duration::ZERO).blocking().unwrap_err();
    bench.locks().read("a").timeout(Duration::ZERO).blocking().unwrap_err();
    bench.assert_busy("a", Mode::Read);
    drop(guard);
    let read = of(bench, "a", Mode::Read);
    assert_eq!(read.total_timeouts, 2);
    let operations: Vec<_> = read.recent_operations.iter().map(|it| (it.kind.as_str(), it.requester.clone())).collect();
    assert_eq!(operations, [("timeout", "agent-7".to_owned()), ("timeout", format!("pid {}", std::process::id()))]);
}

fn one_resource_can_be_reset(bench: &Bench) {
    for name in ["a", "b"] {
        drop(bench.locks().write(name).blocking().unwrap());
    }
    bench.locks().reset_statistics(Some("a")).blocking().unwrap();
    let a = of(bench, "a", Mode::Write);
    assert_eq!((a.total_acquisitions, a.total_releases, a.recent_operations.len()), (0, 0, 0));
    assert_eq!([a.max_wait, a.max_hold, a.p99_hold], [Duration::ZERO; 3]);
    assert_eq!(of(bench, "b", Mode::Write).total_acquisitions, 1);
    drop(bench.locks().write("a").blocking().unwrap());
    assert_eq!(of(bench, "a", Mode::Write).total_acquisitions, 1);
    bench.locks().reset_statistics(Some("never asked for")).blocking().unwrap();
}

fn all_resources_can_be_reset(bench: &Bench) {
    for name in ["a", "b"] {
        drop(bench.locks().read(name).blocking().unwrap());
    }
    let guard = bench.locks().write("c").blocking().unwrap();
    bench.locks().reset_statistics(None).blocking().unwrap();
    for name in ["a", "b"] {
        assert_eq!(of(bench, name, Mode::Read).total_acquisitions, 0);
    }
    bench.assert_busy("c", Mode::Read);
    assert_eq!(of(bench, "c", Mode::Write).current_holders, 1, "counters are forgotten, locks are not");
    guard.release().unwrap();
    bench.assert_free("c");
}

fn every_resource_has_its_own(bench: &Bench) {
    for (name, times) in [("a", 1), ("b", 2), ("c", 3)] {
        (0..times).for_each(|_| drop(bench.locks().write(name).blocking().unwrap()));
    }
    let all = bench.locks().statistics_all().blocking().unwrap();
    let counted: Vec<_> =
        all.iter().map(|(name, modes)| (name.as_str(), modes[&Mode::Write].total_acquisitions)).collect();
    assert_eq!(counted, [("a", 1), ("b", 2), ("c", 3)]);
}
