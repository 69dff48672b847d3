//! What a guard tells of its lease, where the engine grants on one.

use std::time::Duration;

/// How long a lock stays ours if its server is not heard of any more. Told by
/// [`Guard::lease`](crate::Guard::lease).
///
/// A lease runs from the moment its last successful renewal was *sent*, on a clock that goes on
/// while the machine sleeps; the library renews it at a third of its length. When it is over,
/// the server may grant the lock to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The longest it can run without a renewal: the lease of the URL, or
    /// [`max_hold`](crate::Request::max_hold) if that is shorter.
    pub length: Duration,
    /// How long it still runs if it is not renewed; what is left of `max_hold` counts too. Zero
    /// once the lock is lost.
    pub remaining: Duration,
    /// Whether no more than a third of its length is left: renewals have failed, or the end of
    /// `max_hold` is near. Whoever cannot stop in an instant should stop now.
    pub in_danger: bool,
}

impl Lease {
    /// The part of its length that is danger: a renewal is due at two thirds, and has failed by then.
    const DANGER: u32 = 3;

    /// A lease of this length with this much left; for tests of code that acts on one.
    #[must_use]
    pub fn new(length: Duration, remaining: Duration) -> Lease {
        Lease { length, remaining, in_danger: remaining <= length / Lease::DANGER }
    }

    /// How long it is not [in danger](Lease::in_danger) yet, if it is not renewed: when to look again.
    #[must_use]
    pub fn safe_for(&self) -> Duration {
        self.remaining.saturating_sub(self.length / Lease::DANGER)
    }
}

/// How a guard stands: the answer of [`Guard::verify`](crate::Guard::verify). A later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// The server has just confirmed it, and the lease runs anew.
    Renewed,
    /// It is held, which the engine knows without asking anybody.
    Held,
    /// Nobody could say. No loss: the lock is ours until the lease is over, if there is one.
    Unknown,
    /// The lock is not ours any more.
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
