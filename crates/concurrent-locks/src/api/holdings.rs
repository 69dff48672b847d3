//! The holdings of an owner in this process: whether it holds anything (only then can a request of it
//! re-enter or close a cycle), and what, for the order in which it acquires locks.
//!
//! Usually it is at most one lock. So one grant has a slot that is taken and freed by one atomic change
//! each; only further grants are in a list. Both are hints for those two questions: the engine has the
//! authoritative state.
//!
//! The cost of a grant does not grow with the holdings: only the order of the last [`REMEMBERED`] is
//! reported.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    engine::{Engine, Grant},
    words::mode::Mode,
};

/// A grant, by the engine that made it and its handle there.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) engine: &'static dyn Engine,
    pub(crate) handle: u64,
}

impl Held {
    /// The name of the held resource; `None` if it is lost (broken by an operator, or from before a fork).
    pub(crate) fn name(&self) -> Option<String> {
        self.engine.name_of(&Grant { handle: self.handle, token: 0, mode: Mode::Read }).ok()
    }

    fn key(&self) -> Key {
        (std::ptr::from_ref(self.engine).addr(), self.handle)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("engine", &self.engine.url()).field("handle", &self.handle).finish()
    }
}

/// For how many of the held locks, the last acquired, the order of the next one is recorded.
pub(crate) const REMEMBERED: usize = 8;

/// The slot's value while it is empty. A grant with this handle is kept in the list.
const NONE: u64 = 0;

/// The grants and waits of one owner in this process.
#[derive(Default)]
pub(crate) struct Holdings {
    /// The engine that the slot is for: that of the first grant.
    home: OnceLock<&'static dyn Engine>,
    slot: AtomicU64,
    /// Requests that wait, and grants in the list.
    others: AtomicU32,
    list: Mutex<List>,
}

/// Grants in the order in which they were made.
#[derive(Default)]
struct List {
    grants: BTreeMap<u64, Held>,
    places: HashMap<Key, u64>,
    /// The place of the next one.
    next: u64,
}

/// A grant's engine, by its address, and its handle there.
type Key = (usize, u64);

impl List {
    fn push(&mut self, taken: Held) {
        self.places.insert(taken.key(), self.next);
        self.grants.insert(self.next, taken);
        self.next += 1;
    }

    fn remove(&mut self, given: &Held) -> bool {
        let place = self.places.remove(&given.key());
        place.is_some_and(|place| self.grants.remove(&place).is_some())
    }

    fn replace(&mut self, old: &Held, new: &Held) {
        if let Some(place) = self.places.remove(&old.key()) {
            self.places.insert(new.key(), place);
            self.grants.insert(place, *new);
        }
    }

    /// The last ones, in order.
    fn last(&self, count: usize) -> Vec<Held> {
        let mut last: Vec<Held> = self.grants.values().rev().take(count).copied().collect();
        last.reverse();
        last
    }
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

    /// It no longer waits.
    pub(crate) fn ended(&self) {
        self.others.fetch_sub(1, Relaxed);
    }

    /// Records a grant; returns what was held before it: of many, the last acquired.
    #[inline]
    pub(crate) fn took(&self, taken: Held) -> Vec<Held> {
        let home = *self.home.get_or_init(|| taken.engine);
        let fits = taken.handle != NONE && std::ptr::addr_eq(home, taken.engine);
        if fits && self.slot.compare_exchange(NONE, taken.handle, Relaxed, Relaxed).is_ok() {
            return if self.others.load(Relaxed) == 0 { Vec::new() } else { self.list().last(REMEMBERED) };
        }
        self.took_another(home, taken)
    }

    #[cold]
    fn took_another(&self, home: &'static dyn Engine, taken: Held) -> Vec<Held> {
        let mut list = self.list();
        let first = Some(self.slot.load(Relaxed)).filter(|handle| *handle != NONE);
        let mut before = list.last(REMEMBERED);
        if let Some(handle) = first
            && before.len() < REMEMBERED
        {
            before.insert(0, Held { engine: home, handle });
        }
        list.push(taken);
        self.others.fetch_add(1, Relaxed);
        before
    }

    /// A grant was released.
    #[inline]
    pub(crate) fn gave(&self, given: &Held) {
        if !self.change_slot(given, NONE) {
            self.gave_another(given);
        }
    }

    #[cold]
    fn gave_another(&self, given: &Held) {
        let mut list = self.list();
        if list.remove(given) {
            self.others.fetch_sub(1, Relaxed);
        }
    }

    /// An upgrade replaced one grant by another of the same engine.
    pub(crate) fn replaced(&self, old: &Held, new: &Held) {
        if !self.change_slot(old, new.handle) {
            self.list().replace(old, new);
        }
    }

    /// `false` if the slot is not `old`'s.
    #[inline]
    fn change_slot(&self, old: &Held, handle: u64) -> bool {
        old.handle != NONE
            && self.home.get().is_some_and(|home| std::ptr::addr_eq(*home, old.engine))
            && self.slot.compare_exchange(old.handle, handle, Relaxed, Relaxed).is_ok()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holdings").field("slot", &self.slot).field("list", &self.list().grants).finish_non_exhaustive()
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
    fn what_was_held_before_is_returned_in_any_order_of_release() {
        let [here, there] =
            ["local:holdings", "local:holdings-2"].map(|url| LockManager::connect(url).blocking().unwrap().engine());
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
    fn of_many_the_last_are_returned() {
        let engine = LockManager::connect("local:holdings-many").blocking().unwrap().engine();
        let holdings = Holdings::default();
        let many = 3 * REMEMBERED as u64;
        for handle in 1..=many {
            let told = handles(&holdings.took(held(engine, handle)));
            let first = handle.saturating_sub(REMEMBERED as u64).max(1);
            assert_eq!(told, (first..handle).collect::<Vec<_>>());
        }
        // In the order in which they were taken, which is the slowest where a list is searched from its end.
        (1..=many).for_each(|handle| holdings.gave(&held(engine, handle)));
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
