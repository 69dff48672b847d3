//! When a command must end because its lock does: the rule alone, without clock, lock or process.
//!
//! A command that cannot be stopped in an instant is asked to end (SIGTERM) as soon as the lease is in
//! danger, and is stopped (SIGKILL) shortly before the server may grant the lock to somebody else. Both
//! instants are known here: no answer of the server is waited for.

use std::time::Duration;

use concurrent_locks::Lease;

/// How the locks stand: what is asked of them at every look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The lease that ends first.
    pub(crate) lease: Option<Lease>,
    /// Whether one of the locks is lost.
    pub(crate) lost: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing for so long, unless something happens.
    Wait(Duration),
    /// Tell the command to end.
    Terminate,
    /// Stop it.
    Kill,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Deadline {
    #[default]
    Safe,
    /// Asked to end while there was time; stopped before the lease expires.
    Warned,
    /// Told to end when the lock was lost already, without a warning (an operator broke it, or this
    /// process was stopped or asleep): stopped at this instant.
    Late(Duration),
    Over,
}

impl Deadline {
    /// The part of a lease that is kept for the end itself to take effect.
    const MARGIN: u32 = 20;

    /// The time to clean up for a command whose lock was lost without a warning.
    pub(crate) const GRACE: Duration = Duration::from_secs(1);

    /// What is to be done at the instant `now`. A demand is made once.
    pub(crate) fn look(&mut self, now: Duration, look: Look) -> Demand {
        match *self {
            Deadline::Safe if look.lost => {
                *self = Deadline::Late(now + Self::GRACE);
                Demand::Terminate
            }
            Deadline::Safe => match look.lease {
                Some(lease) if lease.in_danger => {
                    *self = Deadline::Warned;
                    Demand::Terminate
                }
                Some(lease) => Demand::Wait(lease.safe_for()),
                None => Demand::Wait(Duration::MAX),
            },
            Deadline::Warned => self.kill_after(if look.lost { Duration::ZERO } else { left(look.lease) }),
            Deadline::Late(at) => self.kill_after(at.saturating_sub(now)),
            Deadline::Over => Demand::Wait(Duration::MAX),
        }
    }

    fn kill_after(&mut self, left: Duration) -> Demand {
        if left > Duration::ZERO {
            return Demand::Wait(left);
        }
        *self = Deadline::Over;
        Demand::Kill
    }
}

/// How long the command may still clean up.
fn left(lease: Option<Lease>) -> Duration {
    lease.map_or(Duration::ZERO, |lease| lease.remaining.saturating_sub(lease.length / Deadline::MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A lease of 9 s with so much left.
    fn left(milliseconds: u64) -> Look {
        Look { lease: Some(Lease::new(at(9), Duration::from_millis(milliseconds))), lost: false }
    }

    fn lost(look: Look) -> Look {
        Look { lost: true, ..look }
    }

    #[test]
    fn a_renewed_lease_is_looked_at_when_it_could_be_in_danger() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.look(at(0), left(9000)), Demand::Wait(at(6)));
        assert_eq!(deadline.look(at(6), left(6000)), Demand::Wait(at(3)));
        assert_eq!(deadline, Deadline::Safe);
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_the_command_before_it_expires() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.look(at(6), left(3000)), Demand::Terminate);
        assert_eq!(deadline.look(at(6), left(3000)), Demand::Wait(Duration::from_millis(2550)));
        assert_eq!(deadline.look(at(8), left(451)), Demand::Wait(Duration::from_millis(1)));
        assert_eq!(deadline.look(at(8), left(450)), Demand::Kill);
        assert_eq!(deadline.look(at(9), lost(left(0))), Demand::Wait(Duration::MAX));
    }

    #[test]
    fn a_renewal_after_the_warning_leaves_the_command_its_time() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.look(at(6), left(3000)), Demand::Terminate);
        assert_eq!(deadline.look(at(7), left(9000)), Demand::Wait(Duration::from_millis(8550)));
        assert_eq!(deadline.look(at(16), left(0)), Demand::Kill);
    }

    #[test]
    fn a_loss_after_the_warning_stops_the_command_at_once() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.look(at(6), left(3000)), Demand::Terminate);
        assert_eq!(deadline.look(at(6), lost(left(2900))), Demand::Kill);
    }

    #[test]
    fn a_loss_without_a_warning_leaves_a_moment_to_clean_up() {
        for look in [lost(left(0)), Look { lease: None, lost: true }] {
            let mut deadline = Deadline::default();
            assert_eq!(deadline.look(at(3), look), Demand::Terminate);
            assert_eq!(deadline.look(at(3), look), Demand::Wait(Deadline::GRACE));
            assert_eq!(deadline.look(at(3) + Deadline::GRACE, look), Demand::Kill);
            assert_eq!(deadline, Deadline::Over);
        }
    }

    #[test]
    fn locks_without_a_lease_demand_nothing() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.look(at(3), Look { lease: None, lost: false }), Demand::Wait(Duration::MAX));
    }
}
