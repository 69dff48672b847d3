//! A Python guard: a request that can be entered, and its hold while it is entered.
//!
//! ```text
//!   Idle --begin--> Held --release--> Idle          the lock was free
//!   Idle --begin--> Waiting --poll--> Held          it was busy
//!                   Waiting --left--> Idle          timed out, cancelled, interrupted
//!   Held --begin_upgrade--> Upgrading --> Held      upgraded or not
//! ```

mod begin;
mod bound;
mod class;
mod done;
mod enter;
pub(crate) mod free;
mod held;
pub(crate) mod lease;
mod memory;
pub(crate) mod methods;
mod native;
pub(crate) mod object;
mod shortcut;
mod stop;
mod upgrade;

use std::{cell::RefCell, time::Duration};

use concurrent_locks::{LockManager, Mode, Owner};
use pyo3::{prelude::*, types::PyString};

use crate::{
    fork,
    owner::{Asker, OwnerObject},
    pending::Hold,
    timeout::Timeout,
};

/// What a guard is for.
pub(crate) enum Target {
    One { name: Py<PyString>, mode: Mode },
    All(Vec<(String, Mode)>),
}

impl Target {
    fn clone_ref(&self, py: Python<'_>) -> Target {
        match self {
            Target::One { name, mode } => Target::One { name: name.clone_ref(py), mode: *mode },
            Target::All(wanted) => Target::All(wanted.clone()),
        }
    }

    /// Drops it where PyO3 does not know that the GIL is held.
    #[inline]
    fn drop_ref(self, py: Python<'_>) {
        if let Target::One { name, .. } = self {
            name.drop_ref(py);
        }
    }

    /// Whether the lock of this name is among them.
    pub(crate) fn has(&self, py: Python<'_>, sought: &str) -> bool {
        match self {
            Target::One { name, .. } => name.bind(py).to_str().is_ok_and(|name| name == sought),
            Target::All(wanted) => wanted.iter().any(|(name, _)| name == sought),
        }
    }
}

/// A request that can be entered, left, and entered again.
pub(crate) struct Guard {
    pub(crate) locks: &'static LockManager,
    pub(crate) target: Target,
    pub(crate) asker: Asker,
    pub(crate) timeout: Timeout,
    pub(crate) priority: i8,
    pub(crate) note: Option<Py<PyString>>,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) phase: RefCell<Phase>,
}

pub(crate) enum Phase {
    Idle,
    Waiting,
    Held(Held),
    /// `None`: the hold is with the thread that waits.
    Upgrading(Option<Held>),
}

/// What is held, by whom, and in which process.
pub(crate) struct Held {
    pub(crate) hold: Hold,
    pub(crate) owner: Option<Py<OwnerObject>>,
    epoch: u64,
}

impl Held {
    fn new(hold: Hold, owner: Option<Py<OwnerObject>>) -> Held {
        Held { hold, owner, epoch: fork::epoch() }
    }

    /// In a forked child, copies of the parent's guards hold nothing.
    fn is_ours(&self) -> bool {
        self.epoch == fork::epoch()
    }
}

impl Guard {
    /// Another one for the same request, which holds nothing.
    fn copy(&self, py: Python<'_>) -> Guard {
        Guard {
            locks: self.locks,
            target: self.target.clone_ref(py),
            asker: self.asker.clone_ref(py),
            timeout: self.timeout,
            priority: self.priority,
            note: self.note.as_ref().map(|note| note.clone_ref(py)),
            max_hold: self.max_hold,
            phase: RefCell::new(Phase::Idle),
        }
    }
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.target {
            Target::One { name, mode } => {
                Python::attach(|py| write!(f, "the {mode} lock {:?}", name.bind(py).to_string_lossy()))
            }
            Target::All(wanted) => {
                let names: Vec<_> = wanted.iter().map(|(name, mode)| format!("{name:?} ({mode})")).collect();
                write!(f, "the locks {}", names.join(", "))
            }
        }
    }
}

fn of(owner: Option<&Py<OwnerObject>>) -> Option<&Owner> {
    owner.map(|owner| owner.get().owner())
}

fn time_of(timeout: Timeout) -> Option<Duration> {
    match timeout {
        Timeout::Try => Some(Duration::ZERO),
        Timeout::For(time) => Some(time),
        Timeout::Forever => None,
    }
}
