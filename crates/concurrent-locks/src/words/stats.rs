//! Statistics for display: per resource and mode, with the key names of the JSON interface.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::mode::Mode;

/// Statistics of the requested resources: name, then `read` / `write`.
pub type StatisticsMap = BTreeMap<String, BTreeMap<Mode, Statistics>>;

/// Counters and times of one resource in one mode, since it was first used or reset.
///
/// Times are milliseconds. Percentiles come from a log-linear histogram (see
/// [`crate::Histogram`]); they and `recent_operations` are kept for a bounded number of resources
/// at a time, counters for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// The resource's name.
    pub resource_name: String,
    /// `read` or `write`.
    pub lock_type: String,
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
    pub avg_wait_time_ms: f64,
    /// Shortest wait.
    pub min_wait_time_ms: f64,
    /// Longest wait.
    pub max_wait_time_ms: f64,
    /// Half of the waits were no longer than this.
    pub p50_wait_time_ms: f64,
    /// 99 of 100 waits were no longer than this.
    pub p99_wait_time_ms: f64,
    /// Mean hold of released grants.
    pub avg_hold_time_ms: f64,
    /// Shortest hold.
    pub min_hold_time_ms: f64,
    /// Longest hold.
    pub max_hold_time_ms: f64,
    /// Half of the holds were no longer than this.
    pub p50_hold_time_ms: f64,
    /// 99 of 100 holds were no longer than this.
    pub p99_hold_time_ms: f64,
    /// Grants held now.
    pub current_holders: u64,
    /// Requests waiting now.
    pub current_waiters: u64,
    /// The last operations of this resource in this mode, oldest first (100 are kept per resource).
    pub recent_operations: Vec<Operation>,
}

/// One entry of [`Statistics::recent_operations`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// `acquire`, `release`, `timeout` or `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `read` or `write`.
    pub lock_type: String,
    /// Unix time in seconds.
    pub timestamp: f64,
    /// Seconds waited (`acquire`, `timeout`, `error`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wait_time: Option<f64>,
    /// Seconds held (`release`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hold_time: Option<f64>,
    /// The owner's label, or `pid N`.
    pub requester: String,
    /// The grant's fencing token, 0 where there is none.
    pub token: u64,
}
