//! The wait-for graph: its edges, the waits that can never end, and the remedy.
//! Pure: no I/O, no clock, no unsafe. The engine takes the snapshot and acts on the answer.
//!
//! # The model
//!
//! A *wait* waits for every other owner that holds its resource in a conflicting mode (a hard edge)
//! and for every conflicting wait that stands earlier in the queue (a soft edge; the grant rule lets
//! that one go first, also if it is of the same owner). It needs **all** of them to go away. What an
//! owner holds never blocks itself.
//!
//! An owner may be several tasks, and so have several waits at once. Which of its tasks will release
//! what it holds cannot be known, so its holds block only while **none** of its tasks can
//! run: one wait that can end is enough to call the owner alive, with all it holds. That may miss a
//! deadlock (time-outs end it) but never cries wolf. A queued wait, however, goes away only by its
//! own grant: it stays in the way of those behind it however alive its owner is.
//!
//! So, as the least fixed point: a wait is alive if all that it waits for is alive; an owner is alive
//! if it has no wait or one of its waits is alive. All other waits are *stuck*. Each stuck wait has
//! a stuck blocker, so stuck waits are on a cycle or lead to one; with one wait per owner this is
//! the usual rule that a cycle is a deadlock. Cancelling any one wait of a cycle ends that cycle.

mod search;
mod stuck;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use crate::{rule::grant::Rank, words::mode::Mode};

/// An owner holds a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) owner: u64,
    pub(crate) resource: u64,
    pub(crate) mode: Mode,
}

/// An owner waits for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The engine's key to the request; unique.
    pub(crate) id: u64,
    pub(crate) owner: u64,
    pub(crate) resource: u64,
    pub(crate) mode: Mode,
    pub(crate) rank: Rank,
    pub(crate) priority: i8,
    pub(crate) arrival: u64,
}

/// One step of a cycle: `wait.owner` waits for `next_owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) wait: Wait,
    /// The next owner holds the resource; else it only stands earlier in the queue, with the next
    /// link's wait.
    pub(crate) hard: bool,
    pub(crate) next_owner: u64,
}

/// Put one wait right before another one of the same queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reorder {
    pub(crate) move_wait: u64,
    pub(crate) before: u64,
}

/// A snapshot's waits, and those holds that somebody who waits himself keeps from somebody who waits.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// By resource, then queue order. A wait's index here is its node.
    waits: Vec<Wait>,
    /// By resource.
    holds: Vec<Hold>,
    queues: Vec<Queue>,
    /// Index of a wait's queue.
    queue_of: Vec<usize>,
    blocked_owners: BTreeMap<u64, BlockedOwner>,
    /// By wait: it can never be granted unless somebody gives up.
    stuck: Vec<bool>,
}

/// The waits and holds of one resource, as indices.
#[derive(Clone, Debug)]
struct Queue {
    waits: Range<usize>,
    holds: Range<usize>,
}

/// An owner with at least one wait.
#[derive(Clone, Debug, Default)]
struct BlockedOwner {
    waits: Vec<usize>,
    /// Queues of resources it holds.
    holds_in: Vec<usize>,
}

impl Graph {
    /// O(n log n) in the number of waits, O(n) in the number of holds.
    pub(crate) fn new(mut holds: Vec<Hold>, mut waits: Vec<Wait>) -> Graph {
        let owners: HashSet<u64> = waits.iter().map(|wait| wait.owner).collect();
        let resources: HashSet<u64> = waits.iter().map(|wait| wait.resource).collect();
        // Owners that do not wait can run, and what nobody waits for is in nobody's way.
        holds.retain(|hold| owners.contains(&hold.owner) && resources.contains(&hold.resource));
        holds.sort_unstable_by_key(|hold| (hold.resource, hold.owner, hold.mode));
        waits.sort_unstable_by_key(|wait| (wait.resource, wait.rank, wait.id));
        Graph::build(holds, waits)
    }

    fn build(holds: Vec<Hold>, waits: Vec<Wait>) -> Graph {
        let mut blocked_owners = BTreeMap::<u64, BlockedOwner>::new();
        let mut queues = Vec::new();
        let mut queue_of = Vec::with_capacity(waits.len());
        for queue in waits.chunk_by(|a, b| a.resource == b.resource) {
            let resource = queue[0].resource;
            let first = queue_of.len();
            for (index, wait) in (first..).zip(queue) {
                blocked_owners.entry(wait.owner).or_default().waits.push(index);
                queue_of.push(queues.len());
            }
            let held_from = holds.partition_point(|hold| hold.resource < resource);
            let held_to = holds.partition_point(|hold| hold.resource <= resource);
            queues.push(Queue { waits: first..queue_of.len(), holds: held_from..held_to });
        }
        for (index, queue) in queues.iter().enumerate() {
            for hold in &holds[queue.holds.clone()] {
                blocked_owners.entry(hold.owner).or_default().holds_in.push(index);
            }
        }
        let mut graph = Graph { waits, holds, queues, queue_of, blocked_owners, stuck: Vec::new() };
        graph.stuck = stuck::stuck(&graph);
        graph
    }

    /// The first cycle of stuck waits through `owner`, its wait first; one of hard edges alone if
    /// there is one, and among those a shortest.
    pub(crate) fn cycle_through(&self, owner: u64) -> Option<Vec<Link>> {
        let waits = &self.blocked_owners.get(&owner)?.waits;
        let stuck = || waits.iter().copied().filter(|wait| self.stuck[*wait]);
        stuck()
            .find_map(|wait| self.round_trip(wait, false))
            .or_else(|| stuck().find_map(|wait| self.round_trip(wait, true)))
    }

    /// Cycles that have no owner in common, such that every deadlock leads to one of them.
    pub(crate) fn cycles(&self) -> Vec<Vec<Link>> {
        let mut owners = HashSet::new();
        let mut cycles = Vec::new();
        for wait in self.on_cycles() {
            let cycle = self.round_trip(wait, false).or_else(|| self.round_trip(wait, true));
            let cycle = cycle.expect("the wait is on a cycle");
            if cycle.iter().all(|link| !owners.contains(&link.wait.owner)) {
                owners.extend(cycle.iter().map(|link| link.wait.owner));
                cycles.push(cycle);
            }
        }
        cycles
    }

    /// A change of order that frees somebody and hurts nobody (PostgreSQL's trick): a wait of the
    /// cycle is put before one that blocks it without holding anything of it. Afterwards
    /// strictly fewer waits are stuck, and none that was not, so repeating it comes to an end.
    /// `None` if the cycle is hard, or no single move helps.
    pub(crate) fn dissolve(&self, cycle: &[Link]) -> Option<Reorder> {
        let next = cycle.iter().cycle().skip(1);
        cycle.iter().zip(next).filter(|(link, _)| !link.hard).find_map(|(link, next)| {
            let moved = self.index(link.wait.id)?;
            let blocker = self.index(next.wait.id)?;
            // If being before this blocker is not enough, being before all blockers may be.
            let first = self.blocking_waits(moved).next()?;
            [blocker, first].into_iter().filter(|before| *before < moved).find_map(|before| {
                let helps = self.with_moved(moved, before).improves_on(self);
                helps.then_some(Reorder { move_wait: link.wait.id, before: self.waits[before].id })
            })
        })
    }

    fn with_moved(&self, wait: usize, before: usize) -> Graph {
        let mut waits = self.waits.clone();
        waits[before..=wait].rotate_right(1);
        Graph::build(self.holds.clone(), waits)
    }

    fn improves_on(&self, other: &Graph) -> bool {
        let (stuck, were_stuck) = (self.stuck_ids(), other.stuck_ids());
        stuck.len() < were_stuck.len() && stuck.is_subset(&were_stuck)
    }

    fn stuck_ids(&self) -> HashSet<u64> {
        self.waits.iter().zip(&self.stuck).filter(|(_, stuck)| **stuck).map(|(wait, _)| wait.id).collect()
    }

    fn index(&self, id: u64) -> Option<usize> {
        self.waits.iter().position(|wait| wait.id == id)
    }
}

/// Whose request gives up: of the lowest priority the youngest, then the largest id. Every
/// participant that sees the cycle, wherever it starts to read, comes to the same.
///
/// # Panics
/// If the cycle is empty.
pub(crate) fn victim(cycle: &[Link]) -> &Link {
    use std::cmp::Reverse;
    let least = |link: &&Link| (link.wait.priority, Reverse(link.wait.arrival), Reverse(link.wait.id));
    cycle.iter().min_by_key(least).expect("a cycle has links")
}
