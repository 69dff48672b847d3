//! The grant rule: who may hold a lock now, and in which order waiters are granted. Pure: no I/O, no clock, no unsafe.
//!
//! PostgreSQL's rule (`src/backend/storage/lmgr/README`), stated once for every engine:
//!
//! 1. **Order.** Waiters are ordered by their [`Rank`]. A rank is fixed at arrival.
//! 2. **Arrival.** A request is granted at once iff it conflicts with no holder and with no waiter ahead of
//!    it.
//! 3. **Release.** Walk the queue in order; grant each waiter that is compatible with all holders
//!    and with every earlier waiter that stays. So consecutive readers enter together, and nobody
//!    is overtaken by a request that conflicts with them: neither side starves.
//! 4. **Re-entry.** An owner that holds a mode that covers the request gets it at once, with the same
//!    token. An owner's grants never conflict with its own requests.
//! 5. **Upgrade.** An owner that holds a weaker mode is placed before all other waiters (each of them
//!    conflicts with what it holds or requests).
//! 6. **Aging.** A priority of `p` counts like having arrived `p` × [`AGING_STEP`] earlier. Of two waiting
//!    requests the order never changes while they wait, yet a request that has waited `p` steps is behind
//!    no new request of priority `p` or less: no priority starves.
//! 7. **Tokens.** A grant that is not a re-entry has a fencing token of its own: greater than those of all
//!    earlier grants that could write, and smaller than those of all later ones; reads are not ordered
//!    among themselves. A re-entry has the greatest token of its owner's strongest grants, and a request
//!    re-enters if its owner holds enough at the moment of the grant, whether it had to wait or not. An
//!    upgrade is a grant of its own; a downgrade keeps its token.

use std::time::Duration;

use crate::words::mode::{Mode, ModeSet};

/// The value of one step of priority: a head start of so much waiting time.
pub(crate) const AGING_STEP: Duration = Duration::from_secs(1);

/// A request's place in the order of its queue: smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    /// Arrival in nanoseconds on the engine's clock, less the head start of the priority.
    virtual_arrival: i64,
    /// Among equals, the earlier ticket.
    ticket: u64,
}

impl Rank {
    /// The rank of a request of `priority` that arrived at `arrival` nanoseconds.
    ///
    /// Within one queue `arrival` must not decrease from one ticket to the next, so that equal
    /// priorities are served in the order of their tickets.
    pub(crate) fn of(arrival: u64, priority: i8, ticket: u64) -> Rank {
        let head_start = i64::from(priority) * AGING_STEP.as_nanos() as i64;
        let arrival = i64::try_from(arrival).unwrap_or(i64::MAX);
        Rank { virtual_arrival: arrival.saturating_sub(head_start).max(i64::MIN + 1), ticket }
    }

    /// The rank of an upgrade: before every other request, in the order of tickets among upgrades.
    pub(crate) fn upgrade(ticket: u64) -> Rank {
        Rank { virtual_arrival: i64::MIN, ticket }
    }

    pub(crate) fn from_parts(virtual_arrival: i64, ticket: u64) -> Rank {
        Rank { virtual_arrival, ticket }
    }

    pub(crate) fn virtual_arrival(self) -> i64 {
        self.virtual_arrival
    }
}

/// What an arriving owner already holds of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: an ordinary request.
    Stranger,
    /// Enough: the request re-enters (rule 4).
    ReEnters,
    /// A weaker mode: the request is an upgrade (rule 5).
    Upgrades,
}

impl Standing {
    /// `own`: the modes that the owner of the request holds itself.
    #[inline]
    pub(crate) fn of(own: ModeSet, wanted: Mode) -> Standing {
        match strongest_covering(own, wanted) {
            Some(_) => Standing::ReEnters,
            None if own == ModeSet::EMPTY => Standing::Stranger,
            None => Standing::Upgrades,
        }
    }
}

/// Of an owner's modes, the strongest that grants what is wanted: a re-entry has the token of that one (rule 7).
#[inline]
pub(crate) fn strongest_covering(own: ModeSet, wanted: Mode) -> Option<Mode> {
    Mode::ALL.into_iter().rev().find(|mode| own.has(*mode) && mode.covers(wanted))
}

/// Whether a request of `mode` may be granted, given the modes of other holders and of the waiters that are
/// ahead of it and stay (rules 2 and 3).
pub(crate) fn admits(mode: Mode, held_by_others: ModeSet, waiting_before: ModeSet) -> bool {
    !mode.conflicts().meets(held_by_others.union(waiting_before))
}

/// The walk of rule 3: it takes the waiters in order and decides which of them to grant.
#[derive(Debug)]
pub(crate) struct Walk {
    stayed: ModeSet,
}

/// The decision on a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It becomes a holder.
    Grant,
    /// It stays; continue with the next.
    Stay,
    /// It stays, and so do all waiters behind it: no mode is compatible with those that stayed.
    Stop,
}

impl Walk {
    pub(crate) fn new() -> Walk {
        Walk { stayed: ModeSet::EMPTY }
    }

    /// Decides on the next waiter. `held_by_others`: modes held by owners other than the waiter's,
    /// grants made earlier in this walk included.
    pub(crate) fn step(&mut self, mode: Mode, held_by_others: ModeSet) -> Step {
        if admits(mode, held_by_others, self.stayed) {
            return Step::Grant;
        }
        self.stayed = self.stayed.with(mode);
        // Not decided by the holders: an owner's grants do not block its own later requests.
        if Mode::ALL.iter().all(|mode| mode.conflicts().meets(self.stayed)) { Step::Stop } else { Step::Stay }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_priorities_are_served_by_ticket_and_a_step_is_a_second() {
        let second = 1_000_000_000;
        assert!(Rank::of(5, 0, 1) < Rank::of(5, 0, 2));
        assert!(Rank::of(second, 2, 9) < Rank::of(0, 0, 1));
        assert!(Rank::of(2 * second, 1, 9) > Rank::of(0, 0, 1));
        assert!(Rank::upgrade(99) < Rank::of(0, i8::MAX, 1));
    }

    #[test]
    fn readers_enter_together_and_stop_at_the_first_writer() {
        let mut walk = Walk::new();
        let mut held = ModeSet::EMPTY;
        assert_eq!(walk.step(Mode::Read, held), Step::Grant);
        held = held.with(Mode::Read);
        assert_eq!(walk.step(Mode::Read, held), Step::Grant);
        assert_eq!(walk.step(Mode::Write, held), Step::Stop);
        assert_eq!(walk.step(Mode::Read, held), Step::Stop);
    }

    #[test]
    fn an_owner_re_enters_or_upgrades() {
        let [read, write] = [Mode::Read, Mode::Write].map(ModeSet::of);
        assert_eq!(Standing::of(write, Mode::Read), Standing::ReEnters);
        assert_eq!(Standing::of(read, Mode::Read), Standing::ReEnters);
        assert_eq!(Standing::of(read, Mode::Write), Standing::Upgrades);
        assert_eq!(Standing::of(ModeSet::EMPTY, Mode::Read), Standing::Stranger);
        assert_eq!(strongest_covering(ModeSet::EVERY, Mode::Read), Some(Mode::Write));
    }

    proptest! {
        #[test]
        fn what_has_waited_its_steps_is_behind_no_newcomer_of_that_priority(
            arrival in 0..u64::MAX / 4, waited in 0..200u64, priority in any::<i8>(), more in any::<i8>(), ticket in 0..u64::MAX / 2,
        ) {
            let step = AGING_STEP.as_nanos() as u64;
            let newcomer = Rank::of(arrival + waited * step, more, ticket + 1);
            let waiter = Rank::of(arrival, priority, ticket);
            let head_start = i64::from(more) - i64::from(priority);
            prop_assert_eq!(waiter < newcomer, head_start <= waited as i64);
            prop_assert!(Rank::upgrade(ticket) < waiter);
        }
    }
}
