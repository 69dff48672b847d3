//! What a holder has: the data, and the lock. The data comes first in each: it is back before the lock is released.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::api::{guard::Guard, local::room::Taken};

/// The data of a [`Mutex`](crate::local::Mutex), until it is dropped.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct MutexGuard<'a, T> {
    pub(super) data: Taken<'a, Box<T>>,
    pub(super) lock: Guard,
}

/// The data of a [`RwLock`](crate::local::RwLock) to read, until it is dropped.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct ReadGuard<T> {
    pub(super) data: Arc<T>,
    pub(super) lock: Guard,
}

/// The data of a [`RwLock`](crate::local::RwLock) to write, until it is dropped.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct WriteGuard<'a, T> {
    pub(super) data: Taken<'a, Arc<T>>,
    pub(super) lock: Guard,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T> Deref for ReadGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::get_mut(&mut self.data).unwrap_or_else(|| unreachable!("it was alone when it was taken"))
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard").field("data", &**self).field("lock", &self.lock).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for ReadGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("data", &**self).field("lock", &self.lock).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard").field("data", &**self).field("lock", &self.lock).finish()
    }
}
