//! Values that belong to one process: a forked child makes its own.
//!
//! [`ForkGeneration`] detects the fork (by a system call per look, on some systems).
#![expect(unsafe_code, reason = "a value that is replaced, not locked: a lock might be held at the fork")]

use std::{
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
};

use crate::os::fork_generation::ForkGeneration;

/// What one process made.
#[derive(Debug)]
struct Made<T> {
    process: ForkGeneration,
    value: T,
}

/// A value that each process makes for itself. What was made is never freed: tables live as long as
/// the process, and references to the parent's value may stand on the stack of its forked child.
#[derive(Debug)]
pub(crate) struct PerProcess<T: Send + Sync + 'static> {
    made: AtomicPtr<Made<T>>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// Of nobody yet.
    pub(crate) const fn new() -> PerProcess<T> {
        PerProcess { made: AtomicPtr::new(ptr::null_mut()) }
    }

    /// This process's value, made if it has none.
    #[inline]
    pub(crate) fn own(&self, make: impl FnOnce() -> T) -> &T {
        match self.latest() {
            Some(made) if made.process.is_current() => &made.value,
            seen => self.replace(seen, make()),
        }
    }

    /// The value as it is: a forked child that has made none finds its parent's.
    #[cfg(any(not(target_os = "linux"), concurrent_locks_portable))]
    #[inline]
    pub(crate) fn inherited(&self) -> Option<&T> {
        self.latest().map(|made| &made.value)
    }

    fn latest(&self) -> Option<&Made<T>> {
        // SAFETY: the pointer is null or comes from a box that `replace` leaked.
        unsafe { self.made.load(Acquire).as_ref() }
    }

    #[cold]
    fn replace(&self, seen: Option<&Made<T>>, value: T) -> &T {
        let seen = seen.map_or(ptr::null_mut(), |seen| ptr::from_ref(seen).cast_mut());
        let made = Box::into_raw(Box::new(Made { process: ForkGeneration::current(), value }));
        let kept = match self.made.compare_exchange(seen, made, AcqRel, Acquire) {
            Ok(_) => made,
            Err(faster) => {
                // SAFETY: the box was made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
                // Another thread of this process: nobody else writes this process's memory.
                faster
            }
        };
        // SAFETY: from a leaked box, by either arm.
        unsafe { &(*kept).value }
    }
}
