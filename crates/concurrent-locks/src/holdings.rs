//! What an owner holds in this process: whether it holds anything (only then can a request of it
//! re-enter or close a cycle), and what, for the order in which it takes locks.
//!
//! Mostly it is one lock or none. So one grant has a slot that is taken and freed by one atomic change
//! each; only what is held besides is in a list. Both are hints for those two questions: what is held
//! is what the engine says.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use crate::engine::{Engine, Grant};

/// A grant, by the engine that made it and its handle there.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) engine: &'static dyn Engine,
    pub(crate) handle: u64,
}

impl Held {
    /// The name of what is held; `None` if it is lost (broken by an operator, or of before a fork).
    pub(crate) fn name(&self) -> Option<String> {
        self.engine.name_of(&Grant { handle: self.handle, ..Grant::NONE }).ok()
    }

    fn is(&self, other: &Held) -> bool {
        self.handle == other.handle && std::ptr::addr_eq(self.engine, other.engine)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("engine", &self.engine.url()).field("handle", &self.handle).finish()
    }
}

/// The slot's value while nothing is in it. A grant whose handle is this is kept in the list.
const NONE: u64 = 0;

/// What one owner holds and waits for in this process.
#[derive(Default)]
pub(crate) struct Holdings {
    /// Whose grants the slot is for: the engine of the first grant.
    home: OnceLock<&'static dyn Engine>,
    slot: AtomicU64,
    /// Requests that wait, and grants in the list.
    others: AtomicU32,
    list: Mutex<Vec<Held>>,
}

impl Holdings {
    /// Whether anything is held or waited for.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.slot.load(Relaxed) != NONE || self.others.load(Relaxed) > 0
    }

    /// A request has begun to wait.
    pub(crate) fn begun(&self) {
        self.others.fetch_add(1, Relaxed);
    }

    /// It waits no more.
    pub(crate) fn ended(&self) {
        self.others.fetch_sub(1, Relaxed);
    }

    /// Records a grant; answers what was held before it.
    #[inline]
    pub(crate) fn took(&self, taken: Held) -> Vec<Held> {
        let home = *self.home.get_or_init(|| taken.engine);
        let fits = taken.handle != NONE && std::ptr::addr_eq(home, taken.engine);
        if fits && self.slot.compare_exchange(NONE, taken.handle, Relaxed, Relaxed).is_ok() {
            return if self.others.load(Relaxed) == 0 { Vec::new() } else { self.list().clone() };
        }
        self.took_another(home, taken)
    }

    #[cold]
    fn took_another(&self, home: &'static dyn Engine, taken: Held) -> Vec<Held> {
        let mut list = self.list();
        let first = Some(self.slot.load(Relaxed)).filter(|handle| *handle != NONE);
        let before =
            first.map(|handle| Held { engine: home, handle }).into_iter().chain(list.iter().copied()).collect();
        list.push(taken);
        self.others.fetch_add(1, Relaxed);
        before
    }

    /// A grant was given back.
    #[inline]
    pub(crate) fn gave(&self, given: &Held) {
        if !self.change_slot(given, NONE) {
            self.gave_another(given);
        }
    }

    #[cold]
    fn gave_another(&self, given: &Held) {
        let mut list = self.list();
        if let Some(place) = list.iter().rposition(|held| held.is(given)) {
            list.remove(place);
            self.others.fetch_sub(1, Relaxed);
        }
    }

    /// An upgrade put one grant in the place of another of the same engine.
    pub(crate) fn replaced(&self, old: &Held, new: &Held) {
        if !self.change_slot(old, new.handle)
            && let Some(entry) = self.list().iter_mut().find(|held| held.is(old))
        {
            *entry = *new;
        }
    }

    /// `false` if the slot is not `old`'s.
    #[inline]
    fn change_slot(&self, old: &Held, handle: u64) -> bool {
        old.handle != NONE
            && self.home.get().is_some_and(|home| std::ptr::addr_eq(*home, old.engine))
            && self.slot.compare_exchange(old.handle, handle, Relaxed, Relaxed).is_ok()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Held>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holdings").field("slot", &self.slot).field("list", &self.list()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LockManager;

    fn held(engine: &'static dyn Engine, handle: u64) -> Held {
        Held { engine, handle }
    }

    fn handles(held: &[Held]) -> Vec<u64> {
        held.iter().map(|held| held.handle).collect()
    }

    #[test]
    fn what_was_held_before_is_told_in_any_order_of_giving_back() {
        let [here, there] =
            ["local:holdings", "local:holdings-2"].map(|url| LockManager::connect(url).unwrap().engine());
        let holdings = Holdings::default();
        assert!(!holdings.any());
        assert!(holdings.took(held(here, 1)).is_empty());
        assert_eq!(handles(&holdings.took(held(here, 2))), [1]);
        // The same handle of another engine is another grant.
        assert_eq!(handles(&holdings.took(held(there, 1))), [1, 2]);
        holdings.gave(&held(here, 1));
        assert_eq!(handles(&holdings.took(held(here, 3))), [2, 1]);
        holdings.replaced(&held(here, 3), &held(here, 4));
        holdings.replaced(&held(here, 2), &held(here, 5));
        assert_eq!(handles(&holdings.took(held(here, 6))), [4, 5, 1]);
        for given in [held(there, 1), held(here, 6), held(here, 4), held(here, 5)] {
            assert!(holdings.any());
            holdings.gave(&given);
        }
        assert!(!holdings.any());
        // A handle that the slot cannot hold.
        assert!(holdings.took(held(here, NONE)).is_empty());
        assert!(holdings.any());
        holdings.gave(&held(here, NONE));
        assert!(!holdings.any());
    }

    #[test]
    fn a_wait_counts_too() {
        let holdings = Holdings::default();
        holdings.begun();
        assert!(holdings.any());
        holdings.ended();
        assert!(!holdings.any());
    }
}
