//! The definition of a case.

use concurrent_locks::LockManager;

use crate::bench::Bench;

/// One promise, checked.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The function's name.
    pub name: &'static str,
    /// What the engine must be able to do for the promise to be made at all.
    pub needs: &'static [Need],
    /// Checks it; panics when it is broken.
    pub run: fn(&Bench),
}

/// What a case needs. All but the last are capabilities, in the words of
/// [`Capabilities`](concurrent_locks::Capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Other processes meet these locks.
    AcrossProcesses,
    /// Requests are served in order.
    Fair,
    /// Priorities are honoured.
    Priority,
    /// A read grant can become a write grant.
    Upgrade,
    /// A write grant can become a read grant.
    Downgrade,
    /// Holders and waiters can be seen.
    Inspect,
    /// A lock can be broken by an operator.
    Revoke,
    /// Cycles are found.
    Deadlocks,
    /// Locks are granted on a lease.
    Lease,
    /// There is room for so many resources, requests and processes, as the URL says.
    Capacity,
}

impl Need {
    /// Whether the engine of these locks serves the need.
    #[must_use]
    pub fn served_by(self, locks: &LockManager) -> bool {
        let capabilities = locks.capabilities();
        match self {
            Need::AcrossProcesses => capabilities.across_processes,
            Need::Fair => capabilities.fair,
            Need::Priority => capabilities.priority,
            Need::Upgrade => capabilities.upgrade,
            Need::Downgrade => capabilities.downgrade,
            Need::Inspect => capabilities.inspect,
            Need::Revoke => capabilities.revoke,
            Need::Deadlocks => capabilities.deadlocks,
            Need::Lease => capabilities.lease,
            Need::Capacity => has_capacity(locks),
        }
    }
}

/// Whether the room of the engine is fixed.
pub(crate) fn has_capacity(locks: &LockManager) -> bool {
    locks.health().blocking().is_ok_and(|health| health.resources.capacity != u64::MAX)
}

impl Case {
    /// What the case needs and the engine lacks.
    #[must_use]
    pub fn lacks(&self, locks: &LockManager) -> Vec<Need> {
        self.needs.iter().copied().filter(|need| !need.served_by(locks)).collect()
    }
}

/// Registers the cases of a file: `name` or `name [Need, Need]`.
macro_rules! cases {
    ($($case:ident $([$($need:ident),+])?),+ $(,)?) => {
        pub(crate) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: stringify!($case),
            needs: &[$($($crate::case::Need::$need),+)?],
            run: $case,
        }),+];
    };
}
pub(crate) use cases;
