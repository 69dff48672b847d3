//! The grant rule, stated a second time as naively as possible, and `grant.rs` held to it.
//!
//! [`Specification`] recomputes everything from the rule's words at each step. [`Lock`] keeps its
//! queue as an engine does and decides with `grant.rs`. Both get the same random histories.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    grant::{AGING_STEP, Rank, Standing, Step, Walk, admits},
    mode::{Mode, ModeSet},
};

/// What happens to a lock. Indices are taken modulo what is there.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask { owner: u64, mode: Mode, priority: i8, after: u64 },
    Release { holder: usize },
    Cancel { waiter: usize },
    Downgrade { holder: usize },
}

/// A request, as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    ticket: u64,
    owner: u64,
    mode: Mode,
    priority: i8,
    arrival: u64,
    /// It was asked by an owner that held a weaker mode.
    upgrade: bool,
}

impl Request {
    /// "An upgrade stands before all others; a priority counts like having arrived so many steps
    /// earlier; among equals the earlier ticket."
    fn place(&self) -> (bool, i128, u64) {
        let head_start = i128::from(self.priority) * AGING_STEP.as_nanos() as i128;
        if self.upgrade { (false, 0, self.ticket) } else { (true, i128::from(self.arrival) - head_start, self.ticket) }
    }

    fn conflicts(&self, other: &Request) -> bool {
        self.mode.conflicts_with(other.mode)
    }
}

/// Who holds and who waits: what both sides must agree on, the order of grants included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// In the order of their grants.
    holders: Vec<Request>,
    /// In queue order.
    waiters: Vec<Request>,
}

impl State {
    fn strongest_of(&self, owner: u64) -> Option<Mode> {
        self.holders.iter().filter(|holder| holder.owner == owner).map(|holder| holder.mode).max()
    }

    fn request(&self, ticket: u64, now: u64, owner: u64, mode: Mode, priority: i8) -> Request {
        let upgrade = self.strongest_of(owner).is_some_and(|own| !own.covers(mode));
        Request { ticket, owner, mode, priority, arrival: now, upgrade }
    }

    /// Removes the chosen request; `None` if there is none.
    fn apply(&mut self, event: Event) -> Option<()> {
        let pick = |number: usize, of: usize| number.checked_rem(of);
        match event {
            Event::Ask { .. } => {}
            Event::Release { holder } => drop(self.holders.remove(pick(holder, self.holders.len())?)),
            Event::Cancel { waiter } => drop(self.waiters.remove(pick(waiter, self.waiters.len())?)),
            Event::Downgrade { holder } => {
                let holder = pick(holder, self.holders.len())?;
                self.holders[holder].mode = Mode::Read;
            }
        }
        Some(())
    }
}

/// The rule's words.
#[derive(Default)]
struct Specification(State);

impl Specification {
    fn ask(&mut self, request: Request) {
        let State { holders, waiters } = &mut self.0;
        if holders.iter().any(|holder| holder.owner == request.owner && holder.mode.covers(request.mode)) {
            holders.push(request); // "gets it at once"
            return;
        }
        waiters.push(request);
        waiters.sort_by_key(Request::place);
        self.settle();
    }

    /// Grants, one by one from scratch, each waiter that "conflicts with no holder and with no waiter
    /// that stands before it".
    fn settle(&mut self) {
        let State { holders, waiters } = &mut self.0;
        let may = |holders: &[Request], waiters: &[Request], at: usize| {
            let wanted = &waiters[at];
            let held = holders.iter().any(|holder| holder.owner != wanted.owner && holder.conflicts(wanted));
            !held && !waiters[..at].iter().any(|earlier| earlier.conflicts(wanted))
        };
        while let Some(at) = (0..waiters.len()).find(|at| may(holders, waiters, *at)) {
            holders.push(waiters.remove(at));
        }
    }
}

/// A lock as an engine keeps it.
#[derive(Default)]
struct Lock {
    state: State,
    ranks: Vec<Rank>,
}

impl Lock {
    fn modes<'a>(requests: impl IntoIterator<Item = &'a Request>) -> ModeSet {
        requests.into_iter().fold(ModeSet::EMPTY, |set, request| set.with(request.mode))
    }

    fn held_by_others(&self, owner: u64) -> ModeSet {
        Lock::modes(self.state.holders.iter().filter(|holder| holder.owner != owner))
    }

    fn ask(&mut self, request: Request) {
        let rank = match Standing::of(self.state.strongest_of(request.owner), request.mode) {
            Standing::ReEnters => return self.state.holders.push(request),
            Standing::Upgrades => Rank::upgrade(request.ticket),
            Standing::Stranger => Rank::of(request.arrival, request.priority, request.ticket),
        };
        let place = self.ranks.partition_point(|earlier| *earlier < rank);
        let waiting_before = Lock::modes(&self.state.waiters[..place]);
        if admits(request.mode, self.held_by_others(request.owner), waiting_before) {
            return self.state.holders.push(request);
        }
        self.ranks.insert(place, rank);
        self.state.waiters.insert(place, request);
    }

    fn walk(&mut self) {
        let mut walk = Walk::new();
        let mut at = 0;
        while at < self.state.waiters.len() {
            let waiter = self.state.waiters[at];
            match walk.step(waiter.mode, self.held_by_others(waiter.owner)) {
                Step::Grant => {
                    self.state.holders.push(self.state.waiters.remove(at));
                    self.ranks.remove(at);
                }
                Step::Stay => at += 1,
                Step::Stop => break,
            }
        }
    }
}

/// Both sides through one history; `check` sees the state before and after each event.
fn replay(events: &[Event], mut check: impl FnMut(&State, &State)) -> State {
    let mut specification = Specification::default();
    let mut lock = Lock::default();
    let mut now = 0;
    for (ticket, event) in (0..).zip(events) {
        let before = lock.state.clone();
        if let Event::Ask { owner, mode, priority, after } = *event {
            now += after;
            let request = lock.state.request(ticket, now, owner, mode, priority);
            specification.ask(request);
            lock.ask(request);
        } else {
            let waiting = lock.state.waiters.clone();
            if specification.0.apply(*event).and(lock.state.apply(*event)).is_none() {
                continue;
            }
            let stays = |request: &Request| lock.state.waiters.contains(request);
            let mut stayed = waiting.iter().map(stays);
            lock.ranks.retain(|_| stayed.next() == Some(true));
            specification.settle();
            lock.walk();
        }
        assert_eq!(lock.state, specification.0, "after {event:?}");
        check(&before, &lock.state);
    }
    lock.state
}

fn ask(owners: u64, priorities: std::ops::RangeInclusive<i8>) -> impl Strategy<Value = Event> {
    let mode = prop_oneof![3 => Just(Mode::Read), 2 => Just(Mode::Write)];
    let after = prop_oneof![Just(0), 0..4 * AGING_STEP.as_nanos() as u64];
    (0..owners, mode, priorities, after).prop_map(|(owner, mode, priority, after)| Event::Ask {
        owner,
        mode,
        priority,
        after,
    })
}

fn history(owners: u64, priorities: std::ops::RangeInclusive<i8>) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => ask(owners, priorities),
        4 => any::<usize>().prop_map(|holder| Event::Release { holder }),
        1 => any::<usize>().prop_map(|waiter| Event::Cancel { waiter }),
        1 => any::<usize>().prop_map(|holder| Event::Downgrade { holder }),
    ];
    proptest::collection::vec(event, 1..80)
}

/// Requests that became holders in this step.
fn granted<'a>(before: &'a State, after: &'a State) -> impl Iterator<Item = &'a Request> {
    after.holders.iter().filter(|holder| !before.holders.iter().any(|earlier| earlier.ticket == holder.ticket))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rule_does_what_its_words_say(events in history(5, -2..=2)) {
        replay(&events, |_, _| {});
    }

    #[test]
    fn owners_with_requests_of_their_own_on_the_way_follow_the_same_words(events in history(2, -2..=2)) {
        replay(&events, |_, _| {});
    }

    #[test]
    fn no_two_owners_hold_what_conflicts(events in history(5, -2..=2)) {
        replay(&events, |_, state| {
            for (index, holder) in state.holders.iter().enumerate() {
                let clash = |other: &&Request| other.owner != holder.owner && other.conflicts(holder);
                assert_eq!(state.holders[..index].iter().find(clash), None, "beside {holder:?}");
            }
        });
    }

    #[test]
    fn without_arrivals_every_queue_drains(events in history(5, -2..=2)) {
        let state = replay(&events, |_, _| {});
        let waiting = state.waiters.len();
        // Whoever holds gives back; one round of that per waiter is the most it can take.
        let mut events = events;
        for _ in 0..=waiting {
            let holders = replay(&events, |_, _| {}).holders.len();
            events.extend(std::iter::repeat_n(Event::Release { holder: 0 }, holders));
        }
        prop_assert_eq!(replay(&events, |_, _| {}), State::default());
    }

    #[test]
    fn nobody_is_overtaken_by_what_conflicts_and_comes_later(events in history(5, -2..=2)) {
        replay(&events, |before, after| {
            let re_enters = |request: &Request| before.strongest_of(request.owner).is_some_and(|own| own.covers(request.mode));
            for request in granted(before, after).filter(|request| !re_enters(request)) {
                let passed = |waiter: &&Request| waiter.place() < request.place() && waiter.conflicts(request);
                assert_eq!(after.waiters.iter().find(passed), None, "by {request:?}");
            }
        });
    }

    #[test]
    fn equal_priorities_are_granted_in_the_order_of_arrival(events in history(40, 0..=0)) {
        replay(&events, |before, after| {
            for request in granted(before, after).filter(|request| !request.upgrade) {
                let passed = |waiter: &&Request| waiter.ticket < request.ticket && waiter.conflicts(request);
                let re_enters = before.strongest_of(request.owner).is_some();
                assert!(re_enters || !after.waiters.iter().any(|waiter| passed(&waiter)), "by {request:?}");
            }
        });
    }

    #[test]
    fn an_upgrade_is_next_and_a_re_entry_is_at_once(events in history(5, -2..=2)) {
        replay(&events, |before, after| {
            let first_ordinary = after.waiters.iter().position(|waiter| !waiter.upgrade).unwrap_or(after.waiters.len());
            assert!(after.waiters[first_ordinary..].iter().all(|waiter| !waiter.upgrade));
            for waiter in after.waiters.iter().filter(|waiter| !before.waiters.contains(waiter)) {
                let own = before.strongest_of(waiter.owner);
                assert!(own.is_none_or(|own| !own.covers(waiter.mode)), "{waiter:?} had to wait for what it holds");
            }
        });
    }

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
        prop_assert_eq!(AGING_STEP, Duration::from_secs(1));
    }
}
