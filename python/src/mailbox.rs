//! A loop's mailbox: how wakers reach an asyncio loop from any thread, without the GIL.
//!
//! A letter says which wait to look after. The first letter of an empty mailbox also writes one byte
//! into a pipe that the loop watches (`add_reader`); those behind it cost nothing. The loop owns the
//! [`Reader`]: when it closes, the reader goes, and with it the waits of that loop leave their queues.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    io::{PipeReader, PipeWriter},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use pyo3::{
    PyTraverseError, PyVisit,
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use crate::{
    fork,
    made::string,
    owner::AddressHasher,
    pending::Slot,
    pipe::{self, End},
};

/// One loop's mailbox.
///
/// In a forked child it is dead: the mutex of its letters may be locked for ever by a thread that the
/// child does not have, and its pipe is the parent's.
pub(crate) struct Mailbox {
    epoch: u64,
    /// The thread on which the loop ran last: see [`this_thread`].
    thread: AtomicUsize,
    letters: Mutex<Letters>,
    bell: End<PipeWriter>,
    /// The waiters. Used with the GIL only.
    waits: Mutex<BTreeMap<u64, Wait>>,
}

#[derive(Default)]
struct Letters {
    /// Not empty: a byte is in the pipe.
    waits: Vec<u64>,
    closed: bool,
}

struct Wait {
    future: Py<PyAny>,
    slot: Arc<Slot>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that no other living thread has, and that is not 0.
#[cfg(unix)]
#[inline]
#[expect(unsafe_code, reason = "std's thread ids are slower than the lock")]
pub(crate) fn this_thread() -> usize {
    // SAFETY: the function has no preconditions.
    unsafe { libc::pthread_self() as usize }
}

/// A number that no other living thread has, and that is not 0.
#[cfg(not(unix))]
pub(crate) fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

/// A number for a wait that no other wait of this process has.
pub(crate) fn next_wait() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A loop, to distinguish it from another one at its address, and its mailbox.
type Known = (Py<PyWeakrefReference>, Weak<Mailbox>);

/// By the address of their loop.
type Mailboxes = HashMap<usize, Known, BuildHasherDefault<AddressHasher>>;

/// Used with the GIL only, so no forked child finds it locked.
static MAILBOXES: Mutex<Mailboxes> = Mutex::new(HashMap::with_hasher(BuildHasherDefault::new()));

impl Mailbox {
    /// The mailbox of the loop that runs on this thread.
    pub(crate) fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        let py = event_loop.py();
        let address = event_loop.as_ptr() as usize;
        let known = lock(&MAILBOXES).get(&address).and_then(|(watch, mailbox)| {
            Some((watch.clone_ref(py), mailbox.upgrade().filter(|mailbox| mailbox.is_open())?))
        });
        if let Some((watch, mailbox)) = known
            && watch.bind(py).upgrade().is_some_and(|of| of.is(event_loop))
        {
            // A loop may run on another thread than last time.
            mailbox.thread.store(this_thread(), Ordering::Relaxed);
            return Ok(mailbox);
        }
        let mailbox = Mailbox::install(event_loop)?;
        let watch = PyWeakrefReference::new(event_loop)?.unbind();
        let mut mailboxes = lock(&MAILBOXES);
        let gone: Vec<Known> =
            mailboxes.extract_if(|_, (_, mailbox)| mailbox.strong_count() == 0).map(|(_, known)| known).collect();
        let old = mailboxes.insert(address, (watch, Arc::downgrade(&mailbox)));
        drop(mailboxes);
        // Weak references go when nothing is locked (G2).
        drop((gone, old));
        Ok(mailbox)
    }

    fn install(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        let (pipe, bell) = pipe::pipe()?;
        let descriptor = pipe.descriptor()?;
        let mailbox = Arc::new(Mailbox {
            epoch: fork::epoch(),
            thread: AtomicUsize::new(this_thread()),
            letters: Mutex::default(),
            bell,
            waits: Mutex::default(),
        });
        let reader = Py::new(event_loop.py(), Reader { mailbox: Arc::clone(&mailbox), pipe })?;
        event_loop.call_method1(string!(event_loop.py(), add_reader), (descriptor, reader))?;
        Ok(mailbox)
    }

    pub(crate) fn thread(&self) -> usize {
        self.thread.load(Ordering::Relaxed)
    }

    fn is_ours(&self) -> bool {
        self.epoch == fork::epoch()
    }

    fn is_open(&self) -> bool {
        self.is_ours() && !lock(&self.letters).closed
    }

    /// Tells the loop to look after a wait. Called on any thread, with the GIL or without.
    pub(crate) fn post(&self, wait: u64) {
        if !self.is_ours() {
            return;
        }
        let mut letters = lock(&self.letters);
        if letters.closed {
            return;
        }
        if letters.waits.is_empty() {
            // If the reader is gone, the mailbox is about to be closed.
            self.bell.ring();
        }
        letters.waits.push(wait);
    }

    /// From now on the loop's `future` stands for this wait.
    pub(crate) fn expect(&self, wait: u64, future: Py<PyAny>, slot: Arc<Slot>) {
        let old = lock(&self.waits).insert(wait, Wait { future, slot });
        drop(old);
    }

    /// The wait has ended.
    pub(crate) fn forget(&self, wait: u64) {
        let old = lock(&self.waits).remove(&wait);
        drop(old);
    }

    /// Wakes the task that waits.
    pub(crate) fn deliver(&self, py: Python<'_>, wait: u64) -> PyResult<()> {
        let future = lock(&self.waits).get(&wait).map(|wait| wait.future.clone_ref(py));
        let Some(future) = future else { return Ok(()) };
        match future.bind(py).call_method1(string!(py, set_result), (py.None(),)) {
            // It was woken before, or cancelled: then its task looks for itself.
            Err(error) if future.bind(py).call_method0(string!(py, done))?.is_truthy()? => drop(error),
            result => drop(result?),
        }
        Ok(())
    }

    /// The loop is closed: nobody will be notified of a grant any more, so nobody may wait for one.
    fn close(&self) {
        if !self.is_ours() {
            return;
        }
        lock(&self.letters).closed = true;
        let waits = std::mem::take(&mut *lock(&self.waits));
        if !waits.is_empty() {
            Python::attach(|py| waits.values().for_each(|wait| wait.slot.leave(py)));
        }
    }
}

/// What the loop calls when the pipe can be read. Owned by the loop.
#[pyclass(frozen, module = "concurrent_locks._core")]
struct Reader {
    mailbox: Arc<Mailbox>,
    pipe: End<PipeReader>,
}

#[pymethods]
impl Reader {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        for wait in self.take_letters()? {
            self.mailbox.deliver(py, wait)?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Taken: then this thread is in the middle of a change, and keeps all alive.
        if let Ok(waits) = self.mailbox.waits.try_lock() {
            for wait in waits.values() {
                visit.call(&wait.future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.mailbox.close();
    }
}

impl Reader {
    fn take_letters(&self) -> PyResult<Vec<u64>> {
        if !self.mailbox.is_ours() {
            return Ok(Vec::new());
        }
        let mut letters = lock(&self.mailbox.letters);
        if !letters.waits.is_empty() {
            self.pipe.take()?;
        }
        Ok(std::mem::take(&mut letters.waits))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// Makes the class of which there is no instance yet (I1).
pub(crate) fn make_classes(py: Python<'_>) {
    py.get_type::<Reader>();
}
