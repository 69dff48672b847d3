//! Notifies holders that their lock file was deleted or replaced. One thread, started for the first that
//! wants to know: nothing else would notice before the lock is released.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::process::Process;
use crate::{engine::Grant, words::error::Error};

/// How long a loss may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The callback for a loss.
type Tell = Box<dyn FnOnce(Error) + Send>;

#[derive(Default)]
pub(super) struct LossWatch {
    watches: Mutex<Watches>,
    begun: Condvar,
}

#[derive(Default)]
struct Watches {
    /// By the grant's handle.
    tells: BTreeMap<u64, Vec<Tell>>,
    running: bool,
}

impl LossWatch {
    /// The grant was released.
    pub(super) fn forget(&self, handle: u64) {
        self.watches().tells.remove(&handle);
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Has `tell` called when the grant is lost; at once, if it is.
    pub(super) fn on_lost(&'static self, grant: &Grant, tell: Tell) {
        if let Some(loss) = self.loss_of(grant.handle) {
            return tell(loss);
        }
        let mut watches = self.loss_watch.watches();
        watches.tells.entry(grant.handle).or_default().push(tell);
        if !watches.running {
            // Without a thread `verify` and `release` report the loss, and the next caller tries again.
            let thread = thread::Builder::new().name("locks loss watch".to_owned());
            watches.running = thread.spawn(|| self.keep_looking()).is_ok();
        }
        self.loss_watch.begun.notify_one();
    }

    fn keep_looking(&self) {
        loop {
            let mut watches = self.loss_watch.watches();
            while watches.tells.is_empty() {
                watches = self.loss_watch.begun.wait(watches).unwrap_or_else(PoisonError::into_inner);
            }
            let handles: Vec<u64> = watches.tells.keys().copied().collect();
            drop(watches);
            for handle in handles {
                let Some(loss) = self.loss_of(handle) else { continue };
                // Nobody, if it was released meanwhile.
                for tell in self.loss_watch.watches().tells.remove(&handle).into_iter().flatten() {
                    tell(loss.clone());
                }
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}
