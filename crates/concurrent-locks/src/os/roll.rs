//! A list that only grows, and that nobody locks: a forked child finds it whole, whatever the threads of its
//! parent were doing.
#![expect(unsafe_code, reason = "a list without a lock: one that is held at a fork is held in the child for ever")]

use std::{
    iter, ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{Acquire, Release},
    },
};

/// Values that live as long as the process, the latest first.
///
/// - **RO1** An entry is whole before the list's head names it, and never changes or goes away.
pub(crate) struct Roll<T: Send + Sync + 'static> {
    latest: AtomicPtr<Entry<T>>,
}

struct Entry<T: 'static> {
    value: T,
    before: Option<&'static Entry<T>>,
}

impl<T: Send + Sync + 'static> Roll<T> {
    pub(crate) const fn new() -> Roll<T> {
        Roll { latest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Adds a value. Does not wait.
    pub(crate) fn push(&self, value: T) {
        let entry = Box::leak(Box::new(Entry { value, before: self.latest() }));
        loop {
            let before = entry.before.map_or(ptr::null_mut(), |before| ptr::from_ref(before).cast_mut());
            match self.latest.compare_exchange_weak(before, entry, Release, Acquire) {
                Ok(_) => return,
                Err(_) => entry.before = self.latest(),
            }
        }
    }

    /// All values, those added meanwhile excepted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static T> + use<T> {
        iter::successors(self.latest(), |entry| entry.before).map(|entry| &entry.value)
    }

    fn latest(&self) -> Option<&'static Entry<T>> {
        // SAFETY: null, or a leaked entry that is whole and that nobody changes any more (RO1).
        unsafe { self.latest.load(Acquire).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_many_threads_add_is_there_once() {
        static ROLL: Roll<usize> = Roll::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..500).for_each(|number| ROLL.push(number * 4 + thread)));
            }
        });
        let mut all: Vec<usize> = ROLL.iter().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn the_latest_is_first() {
        static ROLL: Roll<char> = Roll::new();
        assert_eq!(ROLL.iter().count(), 0);
        "abc".chars().for_each(|value| ROLL.push(value));
        assert_eq!(ROLL.iter().collect::<String>(), "cba");
    }
}
