//! The futures of this process that wait, as its hub (`hub.rs`) keeps them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use crate::engine::Ticket;

/// The next look of a future that the hub has not met yet: most waits have ended before it does.
pub(crate) const UNMET: u64 = u64::MAX;

/// The futures of this process that wait.
pub(crate) struct Hub {
    pub(crate) futures: Mutex<Futures>,
}

#[derive(Default)]
pub(crate) struct Futures {
    pub(crate) running: bool,
    pub(crate) waiting: HashMap<u32, Future>,
    pub(crate) deadlines: BTreeSet<(u64, u32)>,
    pub(crate) looks: BTreeSet<(u64, u32)>,
    /// Those that the hub has not met yet.
    pub(crate) fresh: Vec<u32>,
    /// Processes that are watched, each for so many futures.
    pub(crate) watched: HashMap<u32, usize>,
    /// H1, on the table's clock.
    pub(crate) wakes_at: u64,
    /// When somebody was last seen to have begun to wait.
    pub(crate) last_begun: u64,
}

pub(crate) struct Future {
    pub(crate) waker: Waker,
    pub(crate) ticket: Ticket,
    pub(crate) looked: u64,
    pub(crate) next_look: u64,
    /// Processes that it watches.
    pub(crate) watched: Box<[u32]>,
}

impl Futures {
    /// Takes a future up, or other facts about one.
    pub(crate) fn set(&mut self, index: u32, future: Future) -> Option<Future> {
        let old = self.remove(index);
        if future.ticket.deadline != u64::MAX {
            self.deadlines.insert((future.ticket.deadline, index));
        }
        if future.next_look != UNMET {
            self.looks.insert((future.next_look, index));
        }
        for slot in &future.watched {
            *self.watched.entry(*slot).or_default() += 1;
        }
        self.waiting.insert(index, future);
        old
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Future> {
        let future = self.waiting.remove(&index)?;
        self.deadlines.remove(&(future.ticket.deadline, index));
        if future.next_look != UNMET {
            self.looks.remove(&(future.next_look, index));
        }
        for slot in &future.watched {
            match self.watched.get_mut(slot) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.watched.remove(slot)),
            }
        }
        Some(future)
    }

    /// Takes the entries of a calendar that are due by `now`.
    pub(crate) fn due(calendar: &mut BTreeSet<(u64, u32)>, now: u64) -> Vec<u32> {
        let later = calendar.split_off(&(now.saturating_add(1), 0));
        std::mem::replace(calendar, later).into_iter().map(|(_, index)| index).collect()
    }
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub { futures: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Futures> {
        self.futures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the future that waits with this record, if one does.
    pub(crate) fn wake_future(&self, record: u32) {
        let waker = self.lock().waiting.get(&record).map(|future| future.waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
