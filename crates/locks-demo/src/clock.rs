//! One clock for all processes of the fleet.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Tells microseconds of the system's monotonic clock, which is the same in every process.
///
/// `Instant` reads that clock too but keeps the figure to itself; the distance between the two is
/// taken from the closest of many pairs of readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    instant: Instant,
    nanos: u64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        let readings = (0..1000).map(|_| {
            let before = Instant::now();
            let nanos = monotonic_nanos();
            (before.elapsed(), Clock { instant: before, nanos })
        });
        readings
            .min_by_key(|(apart, _)| *apart)
            .map(|(_, clock)| clock)
            .unwrap_or_else(|| unreachable!("1000 readings"))
    }

    pub(super) fn now(self) -> u64 {
        self.micros(Instant::now())
    }

    pub(super) fn micros(self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.instant).as_nanos() as u64;
        let before = self.instant.saturating_duration_since(at).as_nanos() as u64;
        (self.nanos + after - before) / 1000
    }
}

fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
