//! Finding cycles among stuck waits.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    iter,
};

use super::{Graph, Link};
use crate::words::mode::Mode;

/// What a search has not reached yet of one queue, as indices by mode, first in queue last in list.
/// Each is reached once, however many wait for it, so a search is linear in what it visits.
struct Unreached {
    holds: [Vec<usize>; Mode::COUNT],
    waits: [Vec<usize>; Mode::COUNT],
}

impl Unreached {
    fn of(graph: &Graph, queue: usize) -> Unreached {
        let queue = &graph.queues[queue];
        let mut unreached = Unreached { holds: Default::default(), waits: Default::default() };
        for hold in queue.holds.clone().rev().filter(|hold| graph.is_stuck(graph.holds[*hold].owner)) {
            unreached.holds[graph.holds[hold].mode as usize].push(hold);
        }
        for wait in queue.waits.clone().rev().filter(|wait| graph.stuck[*wait]) {
            unreached.waits[graph.waits[wait].mode as usize].push(wait);
        }
        unreached
    }
}

/// Takes out of the lists of the modes that conflict with `mode` what stands before `end` and is not `own`.
fn take(
    lists: &mut [Vec<usize>; Mode::COUNT],
    mode: Mode,
    end: usize,
    own: impl Fn(usize) -> bool,
) -> impl Iterator<Item = usize> {
    let mut taken = Vec::new();
    for other in Mode::ALL.iter().filter(|other| mode.conflicts_with(**other)) {
        let list = &mut lists[*other as usize];
        let before = list.split_off(list.partition_point(|index| *index >= end));
        let (kept, mut reached): (Vec<_>, Vec<_>) = before.into_iter().partition(|index| own(*index));
        list.extend(kept);
        taken.append(&mut reached);
    }
    taken.sort_unstable();
    taken.into_iter()
}

impl Graph {
    /// A shortest cycle of stuck waits from `start` back to it, over hard edges or over all.
    pub(super) fn round_trip(&self, start: usize, soft: bool) -> Option<Vec<Link>> {
        let own = self.waits[start].owner;
        let mut unreached = HashMap::new();
        let mut came_from = HashMap::new();
        let mut frontier = VecDeque::from([start]);
        while let Some(at) = frontier.pop_front() {
            let wait = self.waits[at];
            let queue = self.queue_of[at];
            let unreached = unreached.entry(queue).or_insert_with(|| Unreached::of(self, queue));
            let mut reach = |next: usize, hard: bool| {
                if let (true, Entry::Vacant(new)) = (next != start, came_from.entry(next)) {
                    new.insert((at, hard));
                    frontier.push_back(next);
                }
            };
            for hold in take(&mut unreached.holds, wait.mode, usize::MAX, |hold| self.holds[hold].owner == wait.owner) {
                let holder = self.holds[hold].owner;
                if holder == own {
                    return Some(self.way(start, at, true, &came_from));
                }
                self.blocked_owners[&holder].waits.iter().for_each(|next| reach(*next, true));
            }
            if !soft {
                continue;
            }
            for next in take(&mut unreached.waits, wait.mode, at, |_| false) {
                if next == start {
                    return Some(self.way(start, at, false, &came_from));
                }
                reach(next, false);
            }
        }
        None
    }

    /// The links of the way from `start` to `last`, whose edge back to `start` is `hard` or not.
    fn way(&self, start: usize, last: usize, hard: bool, came_from: &HashMap<usize, (usize, bool)>) -> Vec<Link> {
        let link =
            |from: usize, hard, to: usize| Link { wait: self.waits[from], hard, next_owner: self.waits[to].owner };
        let mut links = vec![link(last, hard, start)];
        let mut at = last;
        while at != start {
            let (before, hard) = came_from[&at];
            links.push(link(before, hard, at));
            at = before;
        }
        links.reverse();
        links
    }

    /// At least one wait of a cycle for every stuck wait to lead to: from each stuck wait, follow one
    /// blocker after the other until the way meets itself. Linear, since no wait is followed twice.
    pub(super) fn on_cycles(&self) -> Vec<usize> {
        let mut met_by = vec![None; self.waits.len()];
        let mut found = Vec::new();
        for start in (0..self.waits.len()).filter(|wait| self.stuck[*wait]) {
            for at in iter::successors(Some(start), |at| self.a_blocker(*at)) {
                match met_by[at] {
                    None => met_by[at] = Some(start),
                    Some(earlier) => {
                        if earlier == start {
                            found.push(at);
                        }
                        break;
                    }
                }
            }
        }
        found
    }

    fn a_blocker(&self, wait: usize) -> Option<usize> {
        let Graph { waits, holds, .. } = self;
        let mut held = self.queues[self.queue_of[wait]].holds.clone();
        let blocking = |hold: &usize| {
            let hold = holds[*hold];
            hold.owner != waits[wait].owner && hold.mode.conflicts_with(waits[wait].mode) && self.is_stuck(hold.owner)
        };
        match held.find(blocking) {
            Some(hold) => self.blocked_owners[&holds[hold].owner].waits.first().copied(),
            None => self.blocking_waits(wait).next_back(),
        }
    }

    /// The stuck waits that `wait` has soft edges to, in queue order.
    pub(super) fn blocking_waits(&self, wait: usize) -> impl DoubleEndedIterator<Item = usize> {
        let mode = self.waits[wait].mode;
        (self.queues[self.queue_of[wait]].waits.start..wait)
            .filter(move |earlier| self.stuck[*earlier] && self.waits[*earlier].mode.conflicts_with(mode))
    }

    /// Whether none of the owner's tasks can run, as far as the graph shows.
    fn is_stuck(&self, owner: u64) -> bool {
        self.blocked_owners[&owner].waits.iter().all(|wait| self.stuck[*wait])
    }
}
