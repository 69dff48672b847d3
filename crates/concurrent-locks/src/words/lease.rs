//! The lease of a guard, where the engine grants on one.

use std::time::Duration;

/// How long a lock stays held without further contact with its server. Returned by
/// [`Guard::lease`](crate::Guard::lease).
///
/// A lease starts when its last successful renewal was *sent*, on a clock that continues while the machine
/// sleeps; the library renews it every third of its length. When it expires, the server may grant the lock
/// to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The longest it can run without a renewal: the lease of the URL, or
    /// [`max_hold`](crate::Request::max_hold) if that is shorter.
    pub length: Duration,
    /// The time left if it is not renewed; the rest of `max_hold` counts too. Zero once the lock is lost.
    pub remaining: Duration,
    /// Whether at most a third of its length is left: renewals have failed, or the end of `max_hold` is
    /// near. A holder that cannot stop in an instant should stop now.
    pub in_danger: bool,
}

impl Lease {
    /// The part of its length that counts as danger: a renewal is due at two thirds, and has failed by
    /// then.
    const DANGER: u32 = 3;

    /// A lease of this length with this much left; for tests of code that acts on one.
    #[must_use]
    pub fn new(length: Duration, remaining: Duration) -> Lease {
        Lease { length, remaining, in_danger: remaining <= length / Lease::DANGER }
    }

    /// The time until it is [in danger](Lease::in_danger) if it is not renewed: when to check again.
    #[must_use]
    pub fn safe_for(&self) -> Duration {
        self.remaining.saturating_sub(self.length / Lease::DANGER)
    }
}

/// The state of a guard: the answer of [`Guard::verify`](crate::Guard::verify). A later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// The server has just confirmed it, and the lease starts again.
    Renewed,
    /// It is held; the engine knows without a call.
    Held,
    /// No answer, which is no loss: the lock is held until its lease expires, if it has one.
    Unknown,
    /// The lock is no longer held.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_third_of_a_lease_is_danger() {
        let lease = |remaining| Lease::new(Duration::from_secs(9), Duration::from_millis(remaining));
        assert!(!lease(9000).in_danger);
        assert!(!lease(3001).in_danger);
        assert!(lease(3000).in_danger);
        assert!(lease(0).in_danger);
        assert_eq!([3000, 5000].map(|left| lease(left).safe_for().as_millis()), [0, 2000]);
    }

    #[test]
    fn the_worst_standing_is_the_greatest() {
        let all = [Standing::Unknown, Standing::Renewed, Standing::Held];
        assert_eq!(all.into_iter().max(), Some(Standing::Unknown));
        assert!(Standing::Lost > Standing::Unknown);
    }
}
