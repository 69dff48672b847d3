//! What a case is.

use concurrent_locks::Capabilities;

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

/// A capability that a case needs. The word is that of the field in [`Capabilities`].
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
}

impl Need {
    /// Whether an engine with these capabilities serves the need.
    #[must_use]
    pub fn served_by(self, capabilities: &Capabilities) -> bool {
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
        }
    }
}

impl Case {
    /// What the case needs and the engine lacks.
    #[must_use]
    pub fn lacks(&self, capabilities: &Capabilities) -> Vec<Need> {
        self.needs.iter().copied().filter(|need| !need.served_by(capabilities)).collect()
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
