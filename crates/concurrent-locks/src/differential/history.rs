//! Histories: operations on two resources by several owners.

use proptest::prelude::*;

use super::specification::{Outcome, Request, Specification};
use crate::{
    rule::{
        grant::Rank,
        wait_for::{Graph, Hold, Wait},
    },
    words::mode::Mode,
};

pub(super) const NAMES: usize = 2;

/// Seconds of virtual time after which it stops: priorities cannot express more to servers.
pub(super) const LAST_SECOND: u8 = 20;

/// One step. Numbers of holders and waiters are taken modulo how many there are, so every list of steps is a
/// history.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Ask { name: usize, who: usize, mode: Mode, priority: i8, after: u8, waits: bool },
    Upgrade { holder: usize, waits: bool },
    Release { holder: usize },
    Downgrade { holder: usize },
    Break { holder: usize },
    Cancel { waiter: usize },
    TimeOut { waiter: usize },
}

/// A step in a certain state: whom it concerns, and what the specification says of it.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Ask {
        request: Request,
        ancestors: Vec<u64>,
        labelled: bool,
        may_hold: bool,
        waits: bool,
        outcome: Outcome,
    },
    Release(Request),
    Downgrade(Request),
    /// All that have this one's token.
    Break(Request, Vec<Request>),
    Cancel(Request),
    TimeOut(Request),
}

impl Deed {
    pub(super) fn name(&self) -> usize {
        match self {
            Deed::Ask { request, .. }
            | Deed::Release(request)
            | Deed::Downgrade(request)
            | Deed::Break(request, _)
            | Deed::Cancel(request)
            | Deed::TimeOut(request) => request.name,
        }
    }
}

/// Who inherits from whom: the first asks under a new id each time; the fifth is a child of the second, the
/// sixth one of both, the seventh a child of the third.
const ANCESTORS: [&[usize]; 7] = [&[], &[], &[], &[], &[1], &[1, 4], &[2]];

/// The owners of one history, and its clock.
pub(super) struct Cast {
    first: u64,
    asked: u64,
    second: u8,
}

impl Cast {
    pub(super) fn new() -> Cast {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Cast { first: NEXT.fetch_add(1, Relaxed) << 16, asked: 0, second: 0 }
    }

    /// Tells the histories of one process apart.
    pub(super) fn number(&self) -> u64 {
        self.first >> 16
    }

    pub(super) fn second(&self) -> u8 {
        self.second
    }

    fn id(&self, who: usize) -> u64 {
        self.first + who as u64
    }

    /// What the step is in this state, and the state after it; `None` if nothing is there that it could be
    /// done to.
    pub(super) fn apply(&mut self, resources: &mut [Specification; NAMES], step: &Step) -> Option<Deed> {
        let holder = |number: usize| nth(resources.iter().flat_map(|resource| &resource.holders), number);
        let waiter = |number: usize| nth(resources.iter().flat_map(|resource| &resource.waiters), number);
        match *step {
            Step::Ask { name, who, mode, priority, after, waits } => {
                self.second = (self.second + after).min(LAST_SECOND);
                let owner = if who == 0 { self.id(ANCESTORS.len()) + self.asked } else { self.id(who) };
                self.ask(resources, Request { name, who, owner, mode, priority, ..Request::default() }, waits)
            }
            Step::Upgrade { holder: number, waits } => {
                let held = holder(number)?;
                self.ask(resources, Request { mode: Mode::Write, token: None, ..held }, waits)
            }
            Step::Release { holder: number } => {
                let held = holder(number)?;
                resources[held.name].release(held.number);
                Some(Deed::Release(held))
            }
            Step::Downgrade { holder: number } => {
                let held = holder(number)?;
                resources[held.name].downgrade(held.number);
                Some(Deed::Downgrade(held))
            }
            Step::Break { holder: number } => {
                let held = holder(number)?;
                let broken = resources[held.name].revoke(held.token);
                Some(Deed::Break(held, broken))
            }
            Step::Cancel { waiter: number } => {
                let waits = waiter(number)?;
                resources[waits.name].leave(waits.number);
                Some(Deed::Cancel(waits))
            }
            Step::TimeOut { waiter: number } => {
                let waits = waiter(number)?;
                resources[waits.name].leave(waits.number);
                Some(Deed::TimeOut(waits))
            }
        }
    }

    fn ask(&mut self, resources: &mut [Specification; NAMES], asked: Request, waits: bool) -> Option<Deed> {
        let ancestors: Vec<u64> = ANCESTORS[asked.who].iter().map(|who| self.id(*who)).collect();
        let root_owner = ancestors.first().copied().unwrap_or(asked.owner);
        // As the API knows it: by requester, not by the owner whose holds are re-entered; and an owner with children
        // may hold what they acquired in its name. An upgrading owner has a number.
        let is_same = |other: &Request| other.who == asked.who && asked.who != 0;
        let has_another = resources.iter().flat_map(Specification::requests).any(is_same);
        let has_family = ANCESTORS.iter().flat_map(|of| *of).any(|who| *who == asked.who) || !ancestors.is_empty();
        let may_hold = has_another || has_family || asked.number != 0;
        let request = Request { number: self.asked + 1, second: self.second, root_owner, ..asked };
        let mut after = resources.clone();
        let outcome = after[request.name].ask(request, &ancestors, waits);
        if outcome == Outcome::Waits && may_hold && is_reordered(&after, root_owner) {
            return None;
        }
        self.asked += 1;
        *resources = after;
        Some(Deed::Ask { request, ancestors, labelled: asked.who != 0, may_hold, waits, outcome })
    }
}

/// Whether the search for deadlocks would find a new order for the queue. It is a rule of its own, with models
/// of its own (`wait_for`), so histories go round it.
fn is_reordered(resources: &[Specification; NAMES], root_owner: u64) -> bool {
    let (mut holds, mut waits) = (Vec::new(), Vec::new());
    for (resource, specification) in (0..).zip(resources) {
        holds.extend(specification.holders.iter().map(|held| Hold {
            owner: held.root_owner,
            resource,
            mode: held.mode,
        }));
        waits.extend(specification.waiters.iter().zip(0..).map(|(waiter, place)| Wait {
            id: waiter.number,
            owner: waiter.root_owner,
            resource,
            mode: waiter.mode,
            rank: Rank::from_parts(place, waiter.number),
            priority: waiter.priority,
            arrival: waiter.number,
        }));
    }
    let graph = Graph::new(holds, waits);
    graph.cycle_through(root_owner).is_some_and(|cycle| graph.dissolve(&cycle).is_some())
}

fn nth<'a>(requests: impl Iterator<Item = &'a Request> + Clone, number: usize) -> Option<Request> {
    let count = requests.clone().count();
    requests.copied().nth(number.checked_rem(count)?)
}

pub(super) fn strategy() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![3 => Just(Mode::Read), 2 => Just(Mode::Write)];
    let waits = prop_oneof![5 => Just(true), 1 => Just(false)];
    let priority = prop_oneof![2 => Just(0), 1 => -2..=2i8];
    let after = prop_oneof![2 => Just(0), 1 => 0..4u8];
    let ask = (0..NAMES, 0..ANCESTORS.len(), mode, priority, after, waits.clone());
    let any = any::<usize>;
    let step = prop_oneof![
        12 => ask.prop_map(|(name, who, mode, priority, after, waits)| Step::Ask { name, who, mode, priority, after, waits }),
        2 => (any(), waits).prop_map(|(holder, waits)| Step::Upgrade { holder, waits }),
        8 => any().prop_map(|holder| Step::Release { holder }),
        2 => any().prop_map(|holder| Step::Downgrade { holder }),
        1 => any().prop_map(|holder| Step::Break { holder }),
        2 => any().prop_map(|waiter| Step::Cancel { waiter }),
        1 => any().prop_map(|waiter| Step::TimeOut { waiter }),
    ];
    proptest::collection::vec(step, 1..50)
}
