//! Waiting for facts.

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How long a case waits for a fact before it fails. Generous, since it only matters to failures.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A moment as messages show it.
#[must_use]
pub(crate) fn rfc3339(at: Option<SystemTime>) -> String {
    humantime::format_rfc3339_millis(at.expect("a moment")).to_string()
}

/// Looks again and again until `fact` holds.
///
/// # Panics
/// If it does not hold within [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        // Often at first, seldom later: looking may be the most expensive thing that happens.
        thread::sleep((start.elapsed() / 20).clamp(Duration::from_micros(100), Duration::from_millis(20)));
    }
}
