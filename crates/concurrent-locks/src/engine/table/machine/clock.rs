//! The table's clock: nanoseconds that all processes of a table agree on.
//!
//! The invariant TSC where the processor has one and the kernel itself trusts it (10 ns a reading instead
//! of 23), else CLOCK_MONOTONIC without the offset of a time namespace. The scale is measured once by the
//! creator of the table and stored in its header: later processes use the same, even if they cannot query
//! the kernel about the TSC, or the kernel has stopped trusting it meanwhile. Times are for order and
//! statistics; no deadline of a lease depends on them.

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::engine::table::machine::kernel;

/// Nanoseconds per tick, as a fraction of 2^32; 0 means CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    scale: u64,
    /// What this process's time namespace adds to CLOCK_MONOTONIC.
    offset: i64,
}

/// Why a stored clock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// No machine's clock runs like that.
    Nonsense,
    /// It is the processor's, which this process is not shown (an emulator).
    Hidden,
}

impl Clock {
    /// Measures the scale of this machine's clock (takes 2 ms where there is a usable TSC).
    pub(crate) fn measure() -> Clock {
        if !ticks::invariant() || kernel::trusts_ticks() != Some(true) {
            return Clock::of_scale(0);
        }
        let (t0, n0) = Self::sample();
        while kernel::monotonic() - n0 < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        let (t1, n1) = Self::sample();
        let nanos = (n1 - n0).as_nanos() << 32;
        let elapsed = u128::from(t1.wrapping_sub(t0)).max(1);
        Clock::of_scale(u64::try_from(nanos / elapsed).unwrap_or(0))
    }

    fn of_scale(scale: u64) -> Clock {
        Clock { scale, offset: kernel::clock_offset() }
    }

    /// A tick count and the monotonic time it belongs to: the tightest of a few tries, so that an
    /// interruption between the two readings does not count.
    fn sample() -> (u64, Duration) {
        let mut best = (u64::MAX, 0, Duration::ZERO);
        for _ in 0..8 {
            let before = ticks::now();
            let time = kernel::monotonic();
            let after = ticks::now();
            let width = after.wrapping_sub(before);
            if width < best.0 {
                best = (width, before + width / 2, time);
            }
        }
        (best.1, best.2)
    }

    /// The clock of an existing table, from its header. A scale that no machine has is refused.
    pub(crate) fn stored(scale: u64) -> Result<Clock, Unusable> {
        match scale {
            0 => Ok(Clock::of_scale(0)),
            _ if !(1 << 28..1 << 36).contains(&scale) => Err(Unusable::Nonsense),
            _ if !ticks::invariant() => Err(Unusable::Hidden),
            _ => Ok(Clock::of_scale(scale)),
        }
    }

    /// Whether the kernel says that it has stopped trusting what this clock counts by.
    pub(crate) fn is_distrusted(self) -> bool {
        self.scale != 0 && kernel::trusts_ticks() == Some(false)
    }

    pub(crate) fn scale(self) -> u64 {
        self.scale
    }

    /// Now, in nanoseconds since a moment that is the same for all users of the table.
    #[inline]
    pub(crate) fn now(self) -> u64 {
        #[cfg(test)]
        if let Some(fed) = FED.get() {
            return fed;
        }
        if self.scale == 0 {
            let nanos = u64::try_from(kernel::monotonic().as_nanos()).unwrap_or(u64::MAX);
            return nanos.saturating_add_signed(self.offset.saturating_neg());
        }
        ((u128::from(ticks::now()) * u128::from(self.scale)) >> 32) as u64
    }
}

/// Where a table's clock stands on the wall clock.
///
/// Two clocks are never read at once, so each comparison comes out a little different. What one process shows
/// twice must be the same, so it keeps its comparison until the clocks have moved apart: a step of the wall clock, or
/// the drift of hours.
#[derive(Debug, Default)]
pub(crate) struct OnTheWall(AtomicI64);

impl OnTheWall {
    /// So far apart they must be, in nanoseconds: more than a pause between two readings of clocks.
    const STEP: u64 = 100_000_000;

    /// What to add to a reading of this clock.
    fn offset(&self, clock: Clock) -> i64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let seen = i64::try_from(wall).unwrap_or(i64::MAX).wrapping_sub_unsigned(clock.now());
        let offset = Self::kept(self.0.load(Relaxed), seen);
        self.0.store(offset, Relaxed);
        offset
    }

    fn kept(before: i64, seen: i64) -> i64 {
        if before != 0 && before.abs_diff(seen) < Self::STEP { before } else { seen }
    }
}

/// Readings of a table's clock on the wall clock, and how long ago they were.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    now: u64,
    offset: i64,
}

impl Times {
    pub(crate) fn of(clock: Clock, on_the_wall: &OnTheWall) -> Times {
        Times { now: clock.now(), offset: on_the_wall.offset(clock) }
    }

    pub(crate) fn wall(&self, at: u64) -> SystemTime {
        let nanos = u64::try_from(self.offset.saturating_add_unsigned(at)).unwrap_or(0);
        UNIX_EPOCH + Duration::from_nanos(nanos)
    }

    pub(crate) fn since(&self, at: u64) -> Duration {
        Duration::from_nanos(self.now.saturating_sub(at))
    }
}

#[cfg(test)]
thread_local! {
    /// What this thread reads instead of a clock.
    static FED: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// For tests: from here on, tables' clocks stand still for this thread but for such steps.
#[cfg(all(test, not(loom)))]
pub(crate) fn advance_clock(by: Duration) {
    let now = FED.get().unwrap_or_else(|| Clock::measure().now());
    FED.set(Some(now + by.as_nanos() as u64));
}

#[cfg(target_arch = "x86_64")]
mod ticks {
    #![expect(unsafe_code, reason = "the TSC is read by an intrinsic")]
    // CPUID became a safe function after our minimum Rust version.
    #![allow(unused_unsafe)]

    use std::arch::x86_64;

    use once_cell::race::OnceBool;

    /// Whether the processor says that its TSC ticks evenly through all power states.
    pub(crate) fn invariant() -> bool {
        static INVARIANT: OnceBool = OnceBool::new();
        INVARIANT.get_or_init(|| {
            // SAFETY: CPUID exists on every x86-64 processor.
            unsafe { x86_64::__cpuid(0x8000_0000) }.eax >= 0x8000_0007
                // SAFETY: the leaf exists, as just asked.
                && unsafe { x86_64::__cpuid(0x8000_0007) }.edx & (1 << 8) != 0
        })
    }

    #[inline]
    pub(crate) fn now() -> u64 {
        // SAFETY: RDTSC exists on every x86-64 processor; Linux leaves it to user space.
        unsafe { x86_64::_rdtsc() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod ticks {
    pub(crate) fn invariant() -> bool {
        false
    }

    pub(crate) fn now() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock read between two readings of the kernel's: however long an interruption is, it was no
    /// earlier than the first and no later than the second.
    fn bracketed(clock: Clock) -> (Duration, u64, Duration) {
        let before = kernel::monotonic();
        let ticked = clock.now();
        (before, ticked, kernel::monotonic())
    }

    #[test]
    fn a_comparison_of_clocks_stays_until_they_have_moved_apart() {
        let (one, step) = (1_700_000_000_000_000_000, OnTheWall::STEP.cast_signed());
        assert_eq!(OnTheWall::kept(0, one), one, "the first");
        for (seen, shown) in [(one + 1, one), (one - step + 1, one), (one + step, one + step), (one - step, one - step)]
        {
            assert_eq!(OnTheWall::kept(one, seen), shown);
        }
        let wall = |offset| Times { now: 9, offset }.wall(7);
        assert_eq!(wall(one), UNIX_EPOCH + Duration::from_nanos(one.cast_unsigned() + 7));
        assert_eq!(wall(i64::MIN), UNIX_EPOCH);
    }

    #[test]
    fn it_runs_like_the_monotonic_clock() {
        let clock = Clock::measure();
        assert_eq!(Clock::stored(clock.scale()), Ok(clock));
        let start = bracketed(clock);
        while kernel::monotonic() - start.2 < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let end = bracketed(clock);
        let ticked = Duration::from_nanos(end.1 - start.1);
        let (least, most) = (end.0 - start.2, end.2 - start.0);
        // The scale is measured over 2 ms, to some hundred nanoseconds if nothing interrupts all tries.
        let inexact = |time: Duration| time / 50;
        assert!(ticked + inexact(least) >= least, "{ticked:?} in at least {least:?}");
        assert!(ticked <= most + inexact(most), "{ticked:?} in at most {most:?}");
    }

    #[test]
    fn hostile_scales_are_refused() {
        assert_eq!(Clock::stored(1), Err(Unusable::Nonsense));
        assert_eq!(Clock::stored(u64::MAX), Err(Unusable::Nonsense));
    }
}
