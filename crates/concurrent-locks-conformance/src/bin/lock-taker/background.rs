//! A thread that acquires and releases one lock until it is asked to stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread::{self, JoinHandle},
};

use concurrent_locks::{Error, LockManager, Mode};
use concurrent_locks_conformance::DEADLINE;

pub(crate) struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, Error>>,
}

impl Background {
    /// Starts the loop and waits until it has held the lock for the first time.
    pub(crate) fn start(locks: &LockManager, name: &str, mode: Mode) -> Background {
        let (locks, name) = (locks.clone(), name.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (begun, first) = channel();
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                drop(locks.request(&name, mode).timeout(DEADLINE).blocking()?);
                count += 1;
                if count == 1 {
                    begun.send(()).expect("the one who starts the loop");
                }
            }
            Ok(count)
        });
        // An error is that the thread has ended, which `stop` tells.
        let _ = first.recv();
        Background { stop, thread }
    }

    /// How often the lock was held.
    pub(crate) fn stop(self) -> Result<u64, Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the loop")
    }
}
