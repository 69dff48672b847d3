//! A wait ends at its time limit, names the holders, and leaves no trace.

use std::{
    thread,
    time::{Duration, Instant},
};

use concurrent_locks::{ErrorKind, Mode, Settings};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

const SHORT: Duration = Duration::from_millis(30);

cases! {
    a_busy_lock_times_out_blocking,
    a_busy_lock_times_out_on_a_bare_executor,
    a_busy_lock_times_out_on_a_runtime,
    a_timeout_names_the_holder [Inspect],
    a_timeout_names_every_reader [Inspect],
    a_timeout_names_the_place_in_the_queue [Fair, Inspect],
    a_timeout_leaves_a_clean_queue [Inspect],
    a_timed_out_writer_lets_readers_in [Fair],
    zero_takes_a_free_lock_and_does_not_wait,
    the_advice_fits_what_was_asked,
    none_waits_past_the_default [Inspect],
    the_settings_are_the_default,
    the_longest_timeout_is_a_timeout,
    try_now_says_who_is_in_the_way [Inspect],
    try_now_leaves_the_queue_alone [Fair, Inspect],
    a_grant_in_time_counts_however_late_it_is_seen [Fair],
    many_timeouts_at_once,
}

fn a_busy_lock_times_out_blocking(bench: &Bench) {
    for (held, wanted) in [(Mode::Write, Mode::Write), (Mode::Write, Mode::Read), (Mode::Read, Mode::Write)] {
        let guard = bench.locks().request("a", held).blocking().unwrap();
        let error = bench.locks().request("a", wanted).timeout(SHORT).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.resource(), Some("a"));
        assert_eq!(error.mode(), Some(wanted));
        assert!(error.is_retryable());
        assert!(error.busy().unwrap().waited >= SHORT, "{error}");
        drop(guard);
        bench.assert_free("a");
    }
}

fn a_busy_lock_times_out_on_a_bare_executor(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let error = pollster::block_on(bench.locks().read("a").timeout(SHORT).into_future()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(error.busy().unwrap().waited >= SHORT, "{error}");
}

fn a_busy_lock_times_out_on_a_runtime(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(bench.locks().write("a").timeout(SHORT).into_future()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

fn a_timeout_names_the_holder(bench: &Bench) {
    let owner = bench.owner("agent-7");
    let guard = owner.write("a").note("compaction").priority(0).blocking().unwrap();
    let error = bench.locks().read("a").timeout(SHORT).blocking().unwrap_err();
    let busy = error.busy().unwrap();
    let [holder] = &busy.holders[..] else { panic!("not one holder: {busy:?}") };
    assert_eq!((holder.label.as_str(), holder.owner), ("agent-7", Some(owner.id())));
    assert_eq!((holder.pid, holder.mode, holder.token), (std::process::id(), Mode::Write, guard.token()));
    assert_eq!(holder.note, "compaction");
    assert!(holder.held >= SHORT / 2, "{holder:?}");
    assert_eq!((busy.position, busy.waiters), (Some(1), 1));
    let text = error.to_string();
    for part in [
        "agent-7",
        &std::process::id().to_string(),
        "\"a\"",
        &crate::wait::rfc3339(holder.since),
        "compaction",
        "place 1 of 1",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn a_timeout_names_every_reader(bench: &Bench) {
    let owners = ["r1", "r2", "r3"].map(|label| bench.owner(label));
    let guards: Vec<_> = owners.iter().map(|owner| owner.read("a").blocking().unwrap()).collect();
    let error = bench.locks().write("a").timeout(SHORT).blocking().unwrap_err();
    let mut named: Vec<_> = error.busy().unwrap().holders.iter().map(|holder| holder.label.clone()).collect();
    named.sort();
    assert_eq!(named, ["r1", "r2", "r3"]);
    drop(guards);
}

fn a_timeout_names_the_place_in_the_queue(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let _ahead = [Polled::queued(bench.locks().write("a")), Polled::queued(bench.locks().read("a"))];
    let error = bench.locks().write("a").timeout(SHORT).blocking().unwrap_err();
    assert_eq!(error.busy().unwrap().position, Some(3), "{error}");
    assert_eq!(error.busy().unwrap().waiters, 3, "{error}");
}

fn a_timeout_leaves_a_clean_queue(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    for _ in 0..3 {
        bench.locks().write("a").timeout(SHORT).blocking().unwrap_err();
        pollster::block_on(bench.locks().read("a").timeout(SHORT).into_future()).unwrap_err();
        assert_eq!(bench.status("a").pending_requests, 0);
    }
    drop(guard);
    bench.assert_free("a");
}

fn a_timed_out_writer_lets_readers_in(bench: &Bench) {
    let reader = bench.locks().read("a").blocking().unwrap();
    let mut writer = Polled::queued(bench.locks().write("a").timeout(SHORT));
    let mut behind = [Polled::queued(bench.locks().read("a")), Polled::queued(bench.locks().read("a"))];
    assert_eq!(writer.ready().unwrap_err().kind(), ErrorKind::TimedOut);
    let guards = behind.each_mut().map(Polled::granted);
    drop((reader, guards));
    bench.assert_free("a");
}

fn zero_takes_a_free_lock_and_does_not_wait(bench: &Bench) {
    let guard = bench.locks().write("a").timeout(Duration::ZERO).blocking().unwrap();
    let error = bench.locks().write("a").timeout(Duration::ZERO).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let error = pollster::block_on(bench.locks().write("a").timeout(Duration::ZERO).into_future()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(guard);
    bench.assert_free("a");
}

/// A request that did not wait is not advised to wait longer.
fn the_advice_fits_what_was_asked(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let zero = || bench.locks().write("a").timeout(Duration::ZERO);
    let now = [
        bench.locks().write("a").try_now().unwrap_err(),
        zero().blocking().unwrap_err(),
        pollster::block_on(zero().into_future()).unwrap_err(),
    ];
    for error in now {
        let text = error.to_string();
        assert!(text.contains("cannot be acquired to write now") && text.contains("; wait for it, or see"), "{text}");
        assert!(!text.contains("longer") && !text.contains("timed out"), "{text}");
    }
    assert!(zero().blocking().unwrap_err().busy().unwrap().waited.is_zero());
    let text = bench.locks().write("a").timeout(SHORT).blocking().unwrap_err().to_string();
    assert!(text.starts_with("timed out after ") && text.contains("; wait longer, or see"), "{text}");
}

fn none_waits_past_the_default(bench: &Bench) {
    let locks = bench.with(|settings| settings.read_timeout(SHORT).write_timeout(SHORT));
    let guard = locks.write("a").blocking().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| locks.write("a").timeout(None).blocking());
        let waited = || bench.status("a").waiters.first().map_or(Duration::ZERO, |waiter| waiter.waited);
        until("the waiter has waited longer than the default", || waited() > 3 * SHORT);
        drop(guard);
        assert!(waiter.join().unwrap().unwrap().waited() > SHORT);
    });
    bench.assert_free("a");
}

fn the_settings_are_the_default(bench: &Bench) {
    let ours = Settings::default();
    assert_eq!(ours.read_timeout, Some(Duration::from_secs(10)));
    assert_eq!(ours.write_timeout, Some(Duration::from_secs(30)));
    let reads = bench.with(|settings| settings.read_timeout(SHORT));
    let writes = bench.with(|settings| settings.write_timeout(SHORT));
    let _guard = bench.locks().write("a").blocking().unwrap();
    assert_eq!(reads.read("a").blocking().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(writes.write("a").blocking().unwrap_err().kind(), ErrorKind::TimedOut);
    let all = writes.lock_all([("a", Mode::Read)]).blocking();
    assert_eq!(all.unwrap_err().kind(), ErrorKind::TimedOut);
    let handle = reads.resource("a").unwrap();
    assert_eq!(handle.read().blocking().unwrap_err().kind(), ErrorKind::TimedOut);
}

fn the_longest_timeout_is_a_timeout(bench: &Bench) {
    let guard = bench.locks().write("a").timeout(Duration::MAX).blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a").timeout(Duration::MAX));
    let mut all = Polled::queued(bench.locks().lock_all([("a", Mode::Read)]).timeout(Duration::MAX));
    drop(guard);
    drop(waiter.granted());
    drop(all.granted());
    bench.assert_free("a");
}

fn try_now_says_who_is_in_the_way(bench: &Bench) {
    let owner = bench.owner("agent-7");
    let _guard = owner.read("a").blocking().unwrap();
    let error = bench.locks().write("a").try_now().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let busy = error.busy().unwrap();
    assert_eq!((busy.holders[0].label.as_str(), busy.position), ("agent-7", None));
    assert!(error.to_string().contains("agent-7"), "{error}");
}

fn try_now_leaves_the_queue_alone(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a"));
    for mode in Mode::ALL {
        bench.assert_busy("a", mode);
        assert_eq!(bench.waiters("a"), 1);
    }
    drop(guard);
    drop(waiter.granted());
    bench.assert_free("a");
}

fn a_grant_in_time_counts_however_late_it_is_seen(bench: &Bench) {
    let limit = Duration::from_millis(500);
    loop {
        let guard = bench.locks().write("a").blocking().unwrap();
        let begun = Instant::now();
        let mut waiter = Polled::queued(bench.locks().write("a").timeout(limit));
        drop(guard);
        if begun.elapsed() >= limit {
            continue; // The machine stood still; the grant may have come too late.
        }
        until("the time limit is past", || begun.elapsed() > limit + SHORT);
        drop(waiter.ready().unwrap());
        return bench.assert_free("a");
    }
}

fn many_timeouts_at_once(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut waiters: Vec<_> = (0..200).map(|_| Polled::queued(bench.locks().write("a").timeout(SHORT * 4))).collect();
    for waiter in &mut waiters {
        assert_eq!(waiter.ready().unwrap_err().kind(), ErrorKind::TimedOut);
    }
    drop(guard);
    bench.assert_free("a");
}
