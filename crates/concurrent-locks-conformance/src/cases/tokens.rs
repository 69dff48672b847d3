//! Fencing tokens increase strictly, whatever happens in between.

use std::{collections::BTreeSet, sync::Mutex, thread};

use concurrent_locks::{Guard, Mode};

use crate::{bench::Bench, case::cases, polled::Polled};

cases! {
    tokens_increase_from_grant_to_grant,
    tokens_of_concurrent_readers_differ,
    tokens_increase_over_cancelled_and_failed_requests,
    tokens_increase_across_threads,
    tokens_increase_after_an_idle_resource_is_reclaimed [Inspect, Capacity],
    reads_of_one_owner_that_waited_share_a_token,
    of_an_owners_reads_the_latest_grant_is_re_entered [Upgrade, Downgrade],
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
    let capacity = bench.locks().health().blocking().unwrap().resources.capacity;
    let handle = bench.locks().resource("a").unwrap();
    let mut last = 0;
    // So many that a counter which restarts cannot catch up by what the fillers below take.
    for _ in 0..1000 {
        last = handle.write().blocking().unwrap().token();
    }
    for round in 0..2 {
        // More names than fit: the idle ones must go, this one among them.
        for filler in 0..=capacity {
            drop(bench.locks().write(&format!("filler/{round}/{filler}")).try_now().unwrap());
        }
        assert_eq!(bench.locks().status("a").blocking().unwrap(), None, "the idle resource is still known");
        for request in [handle.write(), bench.locks().read("a")] {
            let guard = request.blocking().unwrap();
            assert!(guard.token() > last, "{} after {last}", guard.token());
            last = guard.token();
        }
    }
    assert!(bench.locks().health().blocking().unwrap().evicted >= capacity);
}

/// Whether they waited in a row, or other readers came between them, or they were overtaken.
fn reads_of_one_owner_that_waited_share_a_token(bench: &Bench) {
    let owner = bench.owner("agent");
    let writer = bench.locks().write("a").blocking().unwrap();
    let before = writer.token();
    let mut first = Polled::queued(owner.read("a"));
    let mut other = Polled::queued(bench.locks().read("a"));
    let mut second = Polled::queued(owner.read("a"));
    drop(writer);
    let (first, other, second) = (first.granted(), other.granted(), second.granted());
    assert_eq!(first.token(), second.token());
    assert_ne!(first.token(), other.token());
    assert!(first.token() > before && other.token() > before);
    // As long as one of them is held.
    drop(first);
    assert_eq!(owner.read("a").blocking().unwrap().token(), second.token());
    let after = first_write(bench, [second, other]);
    assert!(after > before);
    bench.assert_free("a");
}

/// The token of a write that these held up: it is above theirs.
fn first_write(bench: &Bench, held: [Guard; 2]) -> u64 {
    let mut writer = Polled::queued(bench.locks().write("a"));
    let greatest = held.iter().map(Guard::token).max();
    drop(held);
    let writer = writer.granted();
    assert!(Some(writer.token()) > greatest);
    writer.token()
}

fn of_an_owners_reads_the_latest_grant_is_re_entered(bench: &Bench) {
    let owner = bench.owner("agent");
    let read = owner.read("a").blocking().unwrap();
    let mut written = owner.write("a").blocking().unwrap();
    assert!(written.token() > read.token());
    written.downgrade().unwrap();
    assert_eq!(owner.read("a").blocking().unwrap().token(), written.token());
    drop(written);
    assert_eq!(owner.read("a").blocking().unwrap().token(), read.token());
}
