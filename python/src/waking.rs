//! Wakers: called by the crate when a queued request is granted, refused, or timed out.
//!
//! A waker may be called on any thread, with or without the GIL, and while the interpreter shuts down.
//! So it runs no Python code: it leaves an entry in the loop's [`Mailbox`]. The exception is a grant by
//! the very thread on which the loop runs, inside [`collect`]: those wakes are delivered as soon as the
//! call into the crate has returned, without the way through the mailbox.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use pyo3::prelude::*;

use crate::mailbox::{Mailbox, this_thread as thread};

/// The thread that is inside [`collect`], and so holds the GIL; 0 if none is.
static COLLECTING: AtomicUsize = AtomicUsize::new(0);
/// Whether it has woken somebody.
static WOKE: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WOKEN: RefCell<Vec<Arc<Bell>>> = const { RefCell::new(Vec::new()) };
}

/// Wakes one wait of one loop.
pub(crate) struct Bell {
    mailbox: Arc<Mailbox>,
    wait: u64,
}

impl Bell {
    pub(crate) fn waker(mailbox: Arc<Mailbox>, wait: u64) -> Waker {
        Waker::from(Arc::new(Bell { mailbox, wait }))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let here = thread();
        if COLLECTING.load(Ordering::Relaxed) == here && self.mailbox.thread() == here {
            WOKEN.with_borrow_mut(|woken| woken.push(self));
            WOKE.store(true, Ordering::Relaxed);
        } else {
            self.mailbox.post(self.wait);
        }
    }
}

/// Runs a call into the crate that may grant to others, then wakes those of this thread's loop.
#[inline]
pub(crate) fn collect<T>(py: Python<'_>, call: impl FnOnce() -> T) -> T {
    // Relaxed: other threads only compare it with themselves. No two are in here at a time (G1).
    COLLECTING.store(thread(), Ordering::Relaxed);
    let result = call();
    COLLECTING.store(0, Ordering::Relaxed);
    if WOKE.load(Ordering::Relaxed) {
        deliver(py);
    }
    result
}

/// A call into the crate that may wait for a server's answer (`waits`), and then runs without the GIL; else as
/// [`collect`].
#[inline]
pub(crate) fn collect_or_wait<T: Send>(py: Python<'_>, waits: bool, call: impl FnOnce() -> T + Send) -> T {
    if waits { py.detach(call) } else { collect(py, call) }
}

#[cold]
fn deliver(py: Python<'_>) {
    WOKE.store(false, Ordering::Relaxed);
    for bell in WOKEN.take() {
        if let Err(error) = bell.mailbox.deliver(py, bell.wait) {
            // What was called released its lock; that a loop could not be notified is no error of its caller's.
            error.write_unraisable(py, None);
        }
    }
}
