//! The names under which journals and check speak of the same figure in a store.

use serde::{Deserialize, Serialize};

/// What an operation adds to one figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Effect {
    pub(super) counter: String,
    pub(super) add: i64,
}

impl Effect {
    pub(super) fn one(counter: String) -> Effect {
        Effect { counter, add: 1 }
    }
}

/// The memories that have points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    Episodic,
    Semantic,
}

impl Memory {
    fn word(self) -> &'static str {
        match self {
            Memory::Episodic => "episodic",
            Memory::Semantic => "semantic",
        }
    }
}

/// Rows of a site in the table of episodes.
pub(super) fn episode_rows(site: &str) -> String {
    format!("episodic/rows/{site}")
}

/// The number of episodes kept with a site.
pub(super) fn episode_count(site: &str) -> String {
    format!("episodic/episodes/{site}")
}

pub(super) fn observations(topic: &str) -> String {
    format!("semantic/observations/{topic}")
}

pub(super) fn skill_uses(skill: &str) -> String {
    format!("skills/uses/{skill}")
}

pub(super) fn skill_successes(skill: &str) -> String {
    format!("skills/successes/{skill}")
}

pub(super) fn library_uses(skill: &str) -> String {
    format!("library/uses/{skill}")
}

pub(super) fn library_successes(skill: &str) -> String {
    format!("library/successes/{skill}")
}

pub(super) fn visits(site: &str) -> String {
    format!("sites/visits/{site}")
}

/// The number on the roll-call sheet.
pub(super) fn roll_call() -> String {
    "roll-call".to_owned()
}

pub(super) fn moves(memory: Memory, topic: &str) -> String {
    format!("{}/moves/{topic}", memory.word())
}

pub(super) fn points(memory: Memory, topic: &str) -> String {
    format!("{}/{POINTS}/{topic}", memory.word())
}

const POINTS: &str = "points";

/// Whether the figure is points, which go up and down, and not a number of updates.
pub(super) fn is_points(counter: &str) -> bool {
    counter.split('/').nth(1) == Some(POINTS)
}

/// What a move of points adds: twice a move, and points that add up to nothing.
pub(super) fn transfer(from: Memory, to: Memory, topic: &str, amount: i64) -> Vec<Effect> {
    vec![
        Effect::one(moves(from, topic)),
        Effect { counter: points(from, topic), add: -amount },
        Effect::one(moves(to, topic)),
        Effect { counter: points(to, topic), add: amount },
    ]
}
