//! Which waits can never be granted: the model of the module head, by walking the queues with the
//! grant rule.

use std::collections::{HashSet, VecDeque};

use super::Graph;
use crate::{
    rule::grant::admits,
    words::mode::{Mode, ModeSet},
};

/// Owners of one mode that block, as far as "is there another one than me" needs it.
#[derive(Clone, Copy, PartialEq)]
enum Owners {
    None,
    One(u64),
    Many,
}

impl Owners {
    fn add(&mut self, owner: u64) {
        *self = match *self {
            Owners::None => Owners::One(owner),
            Owners::One(only) if only == owner => Owners::One(only),
            _ => Owners::Many,
        };
    }

    fn has_other_than(self, owner: u64) -> bool {
        match self {
            Owners::None => false,
            Owners::One(only) => only != owner,
            Owners::Many => true,
        }
    }
}

/// Assumes that all waits are stuck and frees those that are not: a queue is walked again whenever
/// an owner that holds its resource turns out to be alive.
pub(super) fn stuck(graph: &Graph) -> Vec<bool> {
    let mut stuck = vec![true; graph.waits.len()];
    let mut alive = HashSet::new();
    let mut due: VecDeque<usize> = (0..graph.queues.len()).collect();
    let mut is_due = vec![true; graph.queues.len()];
    while let Some(number) = due.pop_front() {
        is_due[number] = false;
        let queue = &graph.queues[number];
        let mut held = [Owners::None; Mode::COUNT];
        for hold in &graph.holds[queue.holds.clone()] {
            if !alive.contains(&hold.owner) {
                held[hold.mode as usize].add(hold.owner);
            }
        }
        let mut stayed = ModeSet::EMPTY;
        for index in queue.waits.clone() {
            let wait = graph.waits[index];
            if !stuck[index] {
                continue;
            }
            let held_by_others = ModeSet::filter(|mode| held[mode as usize].has_other_than(wait.owner));
            if !admits(wait.mode, held_by_others, stayed) {
                stayed = stayed.with(wait.mode);
                continue;
            }
            stuck[index] = false;
            if alive.insert(wait.owner) {
                for held in &graph.blocked_owners[&wait.owner].holds_in {
                    if !std::mem::replace(&mut is_due[*held], true) {
                        due.push_back(*held);
                    }
                }
            }
        }
    }
    stuck
}
