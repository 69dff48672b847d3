//! Statistics for display: per resource and mode, with the key names of the JSON interface.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::words::mode::Mode;

/// Statistics of the requested resources: name, then `read` / `write`.
pub type StatisticsMap = BTreeMap<String, BTreeMap<Mode, Statistics>>;

/// Counters and times of one resource in one mode, since it was first used or reset.
///
/// Percentiles come from a log-linear histogram (see
/// [`crate::Histogram`]); they and `recent_operations` are kept for a bounded number of resources
/// at a time, counters for all.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Statistics {
    /// The resource's name.
    pub resource_name: String,
    /// The mode.
    #[cfg_attr(feature = "serde", serde(rename = "lock_type"))]
    pub mode: Mode,
    /// Grants, re-entries and upgrades included.
    pub total_acquisitions: u64,
    /// Grants released (or taken from dead holders).
    pub total_releases: u64,
    /// Requests that timed out.
    pub total_timeouts: u64,
    /// Requests that were cancelled or refused, and holders that died or whose section panicked.
    pub total_errors: u64,
    /// Requests refused to break a deadlock (also counted in `total_errors`).
    pub total_deadlocks: u64,
    /// Mean wait of granted requests.
    #[cfg_attr(feature = "serde", serde(rename = "avg_wait_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub avg_wait: Duration,
    /// Shortest wait.
    #[cfg_attr(feature = "serde", serde(rename = "min_wait_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub min_wait: Duration,
    /// Longest wait.
    #[cfg_attr(feature = "serde", serde(rename = "max_wait_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub max_wait: Duration,
    /// Half of the waits were no longer than this.
    #[cfg_attr(feature = "serde", serde(rename = "p50_wait_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub p50_wait: Duration,
    /// 99 of 100 waits were no longer than this.
    #[cfg_attr(feature = "serde", serde(rename = "p99_wait_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub p99_wait: Duration,
    /// Mean hold of released grants.
    #[cfg_attr(feature = "serde", serde(rename = "avg_hold_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub avg_hold: Duration,
    /// Shortest hold.
    #[cfg_attr(feature = "serde", serde(rename = "min_hold_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub min_hold: Duration,
    /// Longest hold.
    #[cfg_attr(feature = "serde", serde(rename = "max_hold_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub max_hold: Duration,
    /// Half of the holds were no longer than this.
    #[cfg_attr(feature = "serde", serde(rename = "p50_hold_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub p50_hold: Duration,
    /// 99 of 100 holds were no longer than this.
    #[cfg_attr(feature = "serde", serde(rename = "p99_hold_time_ms", with = "crate::words::json::in_milliseconds"))]
    pub p99_hold: Duration,
    /// Grants held now.
    pub current_holders: u64,
    /// Requests waiting now.
    pub current_waiters: u64,
    /// The last operations of this resource in this mode, oldest first (100 are kept per resource).
    pub recent_operations: Vec<Operation>,
}

/// One entry of [`Statistics::recent_operations`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Operation {
    /// What happened.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: OperationKind,
    /// The mode.
    #[cfg_attr(feature = "serde", serde(rename = "lock_type"))]
    pub mode: Mode,
    /// When.
    #[cfg_attr(feature = "serde", serde(rename = "timestamp", with = "crate::words::json::in_unix_seconds"))]
    pub at: SystemTime,
    /// How long it waited (`acquire`, `timeout`, `error`).
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "wait_time",
            with = "crate::words::json::maybe_in_seconds",
            skip_serializing_if = "Option::is_none",
            default
        )
    )]
    pub waited: Option<Duration>,
    /// How long it was held (`release`, and `error` of a holder).
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "hold_time",
            with = "crate::words::json::maybe_in_seconds",
            skip_serializing_if = "Option::is_none",
            default
        )
    )]
    pub held: Option<Duration>,
    /// The owner's label, or `pid N`.
    pub requester: String,
    /// The grant's fencing token, 0 where there is none.
    pub token: u64,
}

/// What an [`Operation`] was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum OperationKind {
    /// A request was granted.
    Acquire,
    /// A holder released the lock.
    Release,
    /// A request timed out.
    Timeout,
    /// A request was cancelled or refused, or a holder died or panicked.
    Error,
}

impl OperationKind {
    /// The word used in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationKind::Acquire => "acquire",
            OperationKind::Release => "release",
            OperationKind::Timeout => "timeout",
            OperationKind::Error => "error",
        }
    }
}

impl Statistics {
    /// Of a resource that nobody has used in this mode.
    #[must_use]
    pub fn unused(resource_name: String, mode: Mode) -> Statistics {
        let none = Duration::ZERO;
        Statistics {
            resource_name,
            mode,
            total_acquisitions: 0,
            total_releases: 0,
            total_timeouts: 0,
            total_errors: 0,
            total_deadlocks: 0,
            avg_wait: none,
            min_wait: none,
            max_wait: none,
            p50_wait: none,
            p99_wait: none,
            avg_hold: none,
            min_hold: none,
            max_hold: none,
            p50_hold: none,
            p99_hold: none,
            current_holders: 0,
            current_waiters: 0,
            recent_operations: Vec::new(),
        }
    }
}
