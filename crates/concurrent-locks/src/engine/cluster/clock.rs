//! The clock of leases: nanoseconds since the machine started, including suspended time.
//!
//! A lease continues while a laptop sleeps, and so must the clock that ends it; the wall clock may be set
//! back meanwhile. Systems without such a clock have one that stops during suspension.

use rustix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Now, in nanoseconds.
pub(super) fn now() -> u64 {
    let time = clock_gettime(CLOCK);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}
