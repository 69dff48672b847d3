//! Events: data for `locks watch`, logs and dashboards.

use std::time::{Duration, SystemTime};

use crate::words::{mode::Mode, owner_id::OwnerId};

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventKind {
    /// A request had to queue.
    Wait,
    /// A request became a holder.
    Grant,
    /// A holder released the lock.
    Release,
    /// A waiter timed out.
    Timeout,
    /// A waiter was cancelled: its future was dropped.
    Cancel,
    /// A waiter was refused to break a deadlock.
    Deadlock,
    /// The lock of a dead process was recovered.
    Recovered,
    /// A holder's lock was broken by an operator.
    Broken,
}

impl EventKind {
    /// Every kind, in the order of its number in the table.
    pub const ALL: [EventKind; 8] = [
        EventKind::Wait,
        EventKind::Grant,
        EventKind::Release,
        EventKind::Timeout,
        EventKind::Cancel,
        EventKind::Deadlock,
        EventKind::Recovered,
        EventKind::Broken,
    ];

    /// The word used in JSON and by `locks watch`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Wait => "wait",
            EventKind::Grant => "grant",
            EventKind::Release => "release",
            EventKind::Timeout => "timeout",
            EventKind::Cancel => "cancel",
            EventKind::Deadlock => "deadlock",
            EventKind::Recovered => "recovered",
            EventKind::Broken => "broken",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Event {
    /// Position in the stream; a gap means that the reader was too slow and missed some.
    pub sequence: u64,
    /// The kind.
    pub kind: EventKind,
    /// When.
    #[cfg_attr(feature = "serde", serde(with = "crate::words::json::in_rfc3339"))]
    pub at: SystemTime,
    /// The resource's name.
    pub resource: String,
    /// The mode.
    pub mode: Mode,
    /// The owner.
    pub owner: OwnerId,
    /// The owner's label, or `pid N`.
    pub label: String,
    /// Its process.
    pub pid: u32,
    /// The fencing token, 0 where there is none.
    pub token: u64,
    /// How long it waited (grant, time-out, cancel, deadlock) or held (release, recovered, broken).
    #[cfg_attr(feature = "serde", serde(rename = "elapsed_ms", with = "crate::words::json::in_milliseconds"))]
    pub elapsed: Duration,
}
