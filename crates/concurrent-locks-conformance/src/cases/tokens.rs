//! Fencing tokens increase strictly, whatever happens in between.

use std::{collections::BTreeSet, sync::Mutex, thread};

use concurrent_locks::Mode;

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    tokens_increase_from_grant_to_grant,
    tokens_of_concurrent_readers_differ,
    tokens_increase_over_cancelled_and_failed_requests,
    tokens_increase_across_threads,
    tokens_increase_after_an_idle_resource_is_reclaimed [Inspect, Capacity],
}

fn tokens_increase_from_grant_to_grant(bench: &Bench) {
    let handle = bench.locks().resource("a").unwrap();
    let mut last = 0;
    for round in 0..100 {
        let mode = if round % 3 == 0 { Mode::Write } else { Mode::Read };
        let guard = match round % 4 {
            0 => bench.locks().request("a", mode).blocking().unwrap(),
            1 => bench.locks().request("a", mode).try_now().unwrap(),
            2 => handle.request(mode).blocking().unwrap(),
            _ => Polled::new(bench.locks().request("a", mode)).granted(),
        };
        assert!(guard.token() > last, "{} after {last}", guard.token());
        last = guard.token();
    }
}

fn tokens_of_concurrent_readers_differ(bench: &Bench) {
    let guards: Vec<_> = (0..50).map(|_| bench.locks().read("a").blocking().unwrap()).collect();
    let tokens: Vec<_> = guards.iter().map(|guard| guard.token()).collect();
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

fn tokens_increase_over_cancelled_and_failed_requests(bench: &Bench) {
    let mut guard = bench.locks().write("a").blocking().unwrap();
    for _ in 0..20 {
        let last = guard.token();
        bench.assert_busy("a", Mode::Write);
        let cancelled = Polled::queued(bench.locks().write("a"));
        drop(guard);
        cancelled.woken();
        drop(cancelled);
        guard = bench.locks().write("a").blocking().unwrap();
        assert!(guard.token() > last);
    }
}

fn tokens_increase_across_threads(bench: &Bench) {
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let guard = bench.locks().write("a").blocking().unwrap();
                    seen.lock().unwrap().push(guard.token());
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted_by(|a, b| a < b), "in the order of the sections");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 800);
}

fn tokens_increase_after_an_idle_resource_is_reclaimed(bench: &Bench) {
    let capacity = bench.locks().health().unwrap().resources.capacity;
    let handle = bench.locks().resource("a").unwrap();
    let mut last = 0;
    // So many that a counter which begins anew cannot catch up by what the fillers below take.
    for _ in 0..1000 {
        last = handle.write().blocking().unwrap().token();
    }
    for round in 0..2 {
        // More names than fit: the idle ones must go, this one among them.
        for filler in 0..=capacity {
            drop(bench.locks().write(&format!("filler/{round}/{filler}")).try_now().unwrap());
        }
        assert_eq!(bench.locks().status("a").unwrap(), None, "the idle resource is still known");
        for request in [handle.write(), bench.locks().read("a")] {
            let guard = request.blocking().unwrap();
            assert!(guard.token() > last, "{} after {last}", guard.token());
            last = guard.token();
        }
    }
    assert!(bench.locks().health().unwrap().evicted >= capacity);
}
