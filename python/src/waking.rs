//! Wakers: what the crate calls when a queued request is granted, refused, or out of time.
//!
//! A waker may be called on any thread, with or without the GIL, and while the interpreter shuts down.
//! So it runs no Python code: it leaves a letter in the loop's [`Mailbox`]. The exception is a grant by
//! the very thread on which the loop runs, inside [`collect`]: those wakes are delivered as soon as the
//! call into the crate is over, without the way through the mailbox.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    task::{Wake, Waker},
};

use pyo3::prelude::*;

use crate::mailbox::Mailbox;

thread_local! {
    static COLLECTING: Cell<bool> = const { Cell::new(false) };
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
        if COLLECTING.get() && self.mailbox.is_of_this_thread() {
            WOKEN.with_borrow_mut(|woken| woken.push(self));
        } else {
            self.mailbox.post(self.wait);
        }
    }
}

/// Runs a call into the crate that may grant to others, then wakes those of this thread's loop.
#[inline]
pub(crate) fn collect<T>(py: Python<'_>, call: impl FnOnce() -> T) -> T {
    COLLECTING.set(true);
    let result = call();
    COLLECTING.set(false);
    if WOKEN.with_borrow(|woken| !woken.is_empty()) {
        deliver(py);
    }
    result
}

#[cold]
fn deliver(py: Python<'_>) {
    for bell in WOKEN.take() {
        if let Err(error) = bell.mailbox.deliver(py, bell.wait) {
            // What was called released its lock; that a loop would not be told is no error of its caller's.
            error.write_unraisable(py, None);
        }
    }
}
