//! Wakes futures that timed out while they waited for the kernel. One thread, started for the first of them.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Instant,
};

use crate::words::error::Error;

#[derive(Debug, Default)]
pub(super) struct Timer {
    alarms: Mutex<Alarms>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Alarms {
    /// By deadline, then request.
    wakers: BTreeMap<(Instant, u64), Waker>,
    running: bool,
}

impl Timer {
    /// Wakes `waker` at `deadline`, in place of the request's earlier waker.
    pub(super) fn set(&'static self, deadline: Instant, request: u64, waker: &Waker) -> Result<(), Error> {
        let mut alarms = self.alarms();
        if !alarms.running {
            let thread = std::thread::Builder::new().name("locks timer".to_owned());
            thread.spawn(|| self.run()).map_err(|error| Error::io("cannot start a thread to time a wait", error))?;
            alarms.running = true;
        }
        alarms.wakers.insert((deadline, request), waker.clone());
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn clear(&self, deadline: Instant, request: u64) {
        self.alarms().wakers.remove(&(deadline, request));
    }

    fn run(&self) {
        let mut alarms = self.alarms();
        loop {
            let Some(first) = alarms.wakers.first_entry() else {
                alarms = self.changed.wait(alarms).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = first.key().0.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let waker = first.remove();
                drop(alarms);
                waker.wake();
                alarms = self.alarms();
            } else {
                alarms = self.changed.wait_timeout(alarms, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
