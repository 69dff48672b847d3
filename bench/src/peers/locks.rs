//! How each kind of lock is acquired and released.

use std::{
    fs::File,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use concurrent_locks::{Guard, LockManager, Mode, Resource};
use rustix::fs::FlockOperation;

use super::{Lock, sleep_while, sys, wake};

impl Lock for Resource {
    type Held<'a> = Guard;

    fn lock(&self, mode: Mode) -> Result<Guard> {
        Ok(self.request(mode).blocking()?)
    }
}

/// One of our locks, found by its name each time.
pub(super) struct Named {
    pub(super) manager: LockManager,
    pub(super) name: String,
}

impl Lock for Named {
    type Held<'a> = Guard;

    fn lock(&self, mode: Mode) -> Result<Guard> {
        Ok(self.manager.request(&self.name, mode).blocking()?)
    }
}

pub(super) struct Flock(pub(super) File);

pub(super) struct FlockHeld<'a>(&'a File);

impl Lock for Flock {
    type Held<'a> = FlockHeld<'a>;

    fn lock(&self, mode: Mode) -> Result<FlockHeld<'_>> {
        rustix::fs::flock(
            &self.0,
            match mode {
                Mode::Read => FlockOperation::LockShared,
                Mode::Write => FlockOperation::LockExclusive,
            },
        )?;
        Ok(FlockHeld(&self.0))
    }
}

impl Drop for FlockHeld<'_> {
    fn drop(&mut self) {
        rustix::fs::flock(self.0, FlockOperation::Unlock).expect("a held flock can be released");
    }
}

pub(super) struct Ofd(pub(super) File);

pub(super) struct OfdHeld<'a>(&'a File);

impl Lock for Ofd {
    type Held<'a> = OfdHeld<'a>;

    fn lock(&self, mode: Mode) -> Result<OfdHeld<'_>> {
        sys::ofd_lock(
            &self.0,
            match mode {
                Mode::Read => libc::F_RDLCK,
                Mode::Write => libc::F_WRLCK,
            },
        )?;
        Ok(OfdHeld(&self.0))
    }
}

impl Drop for OfdHeld<'_> {
    fn drop(&mut self) {
        sys::ofd_lock(self.0, libc::F_UNLCK).expect("a held OFD lock can be released");
    }
}

impl Lock for sys::PthreadRwLock {
    type Held<'a> = sys::PthreadHeld<'a>;

    fn lock(&self, mode: Mode) -> Result<sys::PthreadHeld<'_>> {
        Ok(match mode {
            Mode::Read => self.read()?,
            Mode::Write => self.write()?,
        })
    }
}

/// A futex word: 0 free, 1 held, 2 held and somebody may sleep (Drepper's second mutex).
pub(crate) struct FutexMutex(pub(super) &'static AtomicU32);

pub(crate) struct FutexHeld<'a>(&'a AtomicU32);

impl FutexMutex {
    /// A lock between the threads of this process.
    pub(crate) fn private() -> FutexMutex {
        FutexMutex(Box::leak(Box::new(AtomicU32::new(0))))
    }
}

impl Lock for FutexMutex {
    type Held<'a> = FutexHeld<'a>;

    fn lock(&self, _: Mode) -> Result<FutexHeld<'_>> {
        if self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.0.swap(2, Ordering::Acquire) != 0 {
                sleep_while(self.0, 2);
            }
        }
        Ok(FutexHeld(self.0))
    }
}

impl Drop for FutexHeld<'_> {
    fn drop(&mut self) {
        if self.0.swap(0, Ordering::Release) == 2 {
            wake(self.0, 1);
        }
    }
}
