//! Deadlocks: how cycles in the wait-for graph are reported.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, SystemTime},
};

use crate::words::{
    mode::Mode,
    owner_id::OwnerId,
    status::{Status, Waiter},
    time::rfc3339,
};

/// What to do about a hard cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadlockPolicy {
    /// One request of the cycle (lowest priority, then the youngest) fails with `Deadlock`.
    #[default]
    Abort,
    /// Count it and report it (events, `locks deadlocks`), and let time-outs end it.
    Report,
}

/// Owners that wait for each other, in order: each link's owner waits for a resource that the next link's
/// owner holds, or for which that owner is ahead in the queue; the last waits for the first.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Cycle {
    /// The links, starting with the refused request's if one was refused.
    pub links: Vec<CycleLink>,
}

/// One owner of a [`Cycle`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CycleLink {
    /// The owner.
    pub owner: OwnerId,
    /// Its label, or `pid N`.
    pub label: String,
    /// Its process.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// The resource it waits for.
    pub waits_for: String,
    /// The requested mode.
    pub mode: Mode,
    /// Since when it has waited.
    #[cfg_attr(feature = "serde", serde(with = "crate::words::json::in_rfc3339"))]
    pub since: SystemTime,
    /// For how long.
    #[cfg_attr(feature = "serde", serde(rename = "waited_ms", with = "crate::words::json::in_milliseconds"))]
    pub waited: Duration,
    /// `true`: the next owner holds the resource. `false`: it is only ahead in its queue.
    pub held: bool,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, link) in self.links.iter().enumerate() {
            let next = &self.links[(index + 1) % self.links.len()];
            if index > 0 {
                f.write_str("; ")?;
            }
            let how = if link.held { "is held by" } else { "was requested earlier by" };
            write!(
                f,
                "{} (pid {} on {}) has waited since {} to {} {:?}, which {how} {}",
                link.label,
                link.pid,
                link.host,
                rfc3339(link.since),
                link.mode,
                link.waits_for,
                next.label
            )?;
        }
        let resource = self.links.first().map(|link| &link.waits_for);
        f.write_str(if self.links.iter().all(|link| Some(&link.waits_for) == resource) {
            "; both hold it to read and want to write it: request to write at first if a write may follow"
        } else {
            "; acquire locks in one order everywhere, or all at once"
        })
    }
}

/// A request that has waited longer than the suspicion threshold.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Suspect {
    /// What it waits for.
    pub resource: String,
    /// The owner; `None` where the engine does not show it.
    #[cfg_attr(feature = "serde", serde(rename = "request_id", with = "crate::words::json::maybe_owner"))]
    pub owner: Option<OwnerId>,
    /// The owner's label.
    pub requester: String,
    /// The requested mode.
    #[cfg_attr(feature = "serde", serde(rename = "lock_type"))]
    pub mode: Mode,
    /// How long it has waited.
    #[cfg_attr(feature = "serde", serde(rename = "wait_time_seconds", with = "crate::words::json::in_seconds"))]
    pub waited: Duration,
    /// The writer's label, if there is one.
    pub current_writer: Option<String>,
    /// The readers' labels.
    pub current_readers: Vec<String>,
    /// Writes waiting on the resource.
    pub pending_writes: usize,
}

impl Suspect {
    /// The waiters of one resource that have waited at least that long.
    pub(crate) fn among(status: &Status, suspect_after: Duration) -> Vec<Suspect> {
        let long = status.waiters.iter().filter(|waiter| waiter.waited >= suspect_after);
        let suspect = |waiter: &Waiter| Suspect {
            resource: status.resource_name.clone(),
            owner: waiter.owner,
            requester: waiter.label.clone(),
            mode: waiter.mode,
            waited: waiter.waited,
            current_writer: status.current_writer.clone(),
            current_readers: status.current_readers.clone(),
            pending_writes: status.pending_writes,
        };
        long.map(suspect).collect()
    }
}

/// Two resources that were taken in both orders: a deadlock that has not happened yet.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Inversion {
    /// One resource.
    pub first: String,
    /// The other.
    pub second: String,
    /// The owner that took `first`, then `second`.
    pub first_then_second: String,
    /// The owner that took `second`, then `first`.
    pub second_then_first: String,
}

impl Inversion {
    /// The contradictions among `orders`: pairs of names that owners have taken in both orders.
    pub(crate) fn among(orders: &HashMap<(String, String), String>) -> Vec<Inversion> {
        let mut inversions: Vec<Inversion> = orders
            .iter()
            .filter(|((first, second), _)| first < second)
            .filter_map(|((first, second), forwards)| {
                let backwards = orders.get(&(second.clone(), first.clone()))?;
                Some(Inversion {
                    first: first.clone(),
                    second: second.clone(),
                    first_then_second: forwards.clone(),
                    second_then_first: backwards.clone(),
                })
            })
            .collect();
        inversions.sort_by(|a, b| (&a.first, &a.second).cmp(&(&b.first, &b.second)));
        inversions
    }
}

/// The answer of [`crate::LockManager::deadlocks`].
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DeadlockReport {
    /// Current cycles.
    pub cycles: Vec<Cycle>,
    /// Waits longer than the threshold.
    pub suspects: Vec<Suspect>,
    /// Contradictory lock orders.
    pub inversions: Vec<Inversion>,
    /// Deadlocks broken since the lock space was created.
    pub broken: u64,
}
