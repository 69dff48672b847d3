//! What a manager's requests do when they do not say otherwise.

use std::time::Duration;

use crate::words::deadlock::DeadlockPolicy;

/// How strictly requests are granted in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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

/// What a manager's requests do when they do not say otherwise. Each method sets the field of its name.
///
/// ```
/// # use std::time::Duration;
/// use concurrent_locks::{Fairness, LockManager, Settings};
///
/// let settings = Settings::default().read_timeout(Duration::from_secs(1)).write_timeout(None).fairness(Fairness::Window);
/// assert_eq!(settings.write_timeout, None); // for ever
/// let locks = LockManager::local().with_settings(settings);
/// # let _ = locks;
/// ```
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

impl Settings {
    /// How long `read` waits; `None` for ever.
    #[must_use]
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Settings {
        self.read_timeout = timeout.into();
        self
    }

    /// How long `write` and `lock_all` wait; `None` for ever.
    #[must_use]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Settings {
        self.write_timeout = timeout.into();
        self
    }

    /// What to do about a deadlock.
    #[must_use]
    pub fn deadlocks(mut self, policy: DeadlockPolicy) -> Settings {
        self.deadlocks = policy;
        self
    }

    /// How strictly order is kept.
    #[must_use]
    pub fn fairness(mut self, fairness: Fairness) -> Settings {
        self.fairness = fairness;
        self
    }

    /// How long a wait lasts before it is reported as a suspect.
    #[must_use]
    pub fn suspect_after(mut self, wait: Duration) -> Settings {
        self.suspect_after = wait;
        self
    }

    /// How long a lock that was handed to a waiting request may lie before its process takes it up.
    #[must_use]
    pub fn pass_over_after(mut self, time: Duration) -> Settings {
        self.pass_over_after = time;
        self
    }
}
