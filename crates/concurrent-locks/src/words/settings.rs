//! What a manager's requests do when they do not say otherwise.

use std::time::Duration;

use crate::words::deadlock::DeadlockPolicy;

/// How strictly requests are granted in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fairness {
    /// A release hands the lock to the first waiter; nobody overtakes. Costs one wake-up per acquisition
    /// when sections are shorter than a wake-up (20 to 35 us to another idle core).
    #[default]
    Strict,
    /// A release wakes the first waiter and leaves the lock free until that waiter runs or 50 us have
    /// passed; others may acquire it in between. Overtaking is bounded by one wake-up and one hold per
    /// place in the queue. For very short sections under heavy contention.
    Window,
}

/// The defaults of a manager's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long `read` waits; `None` for ever. Default 10 s.
    pub read_timeout: Option<Duration>,
    /// How long `write` and `lock_all` wait; `None` for ever. Default 30 s.
    pub write_timeout: Option<Duration>,
    /// What to do about a deadlock. Default [`DeadlockPolicy::Abort`].
    pub deadlocks: DeadlockPolicy,
    /// How strictly order is kept. Default [`Fairness::Strict`].
    pub fairness: Fairness,
    /// A wait longer than this is reported as a suspect. Default 5 minutes.
    pub suspect_after: Duration,
    /// How long a hand-off to a waiting request of this manager may stay unacknowledged (`host:`). Then the
    /// next waiter is granted instead, and the request keeps waiting at its old place: a process that is
    /// stopped, or a future that nobody polls, does not delay others. Default 1 s.
    pub pass_over_after: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            read_timeout: Some(Duration::from_secs(10)),
            write_timeout: Some(Duration::from_secs(30)),
            deadlocks: DeadlockPolicy::Abort,
            fairness: Fairness::Strict,
            suspect_after: Duration::from_secs(300),
            pass_over_after: Duration::from_secs(1),
        }
    }
}
