//! Waiting for facts: no test sleeps and hopes.

use std::{
    thread,
    time::{Duration, Instant},
};

use concurrent_locks::LockManager;

/// How long anything may take that must happen. Never a statement about speed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// For requests that must be granted or answered before their own time limit.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// For requests that must run out of time.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// Waits until `what` is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until so many requests wait for `name`.
#[track_caller]
pub(crate) fn until_waiting(locks: &LockManager, name: &str, count: usize) {
    until(&format!("{count} waiting for {name:?}"), || {
        locks.status(name).blocking().unwrap().is_some_and(|status| status.pending_requests == count)
    });
}
