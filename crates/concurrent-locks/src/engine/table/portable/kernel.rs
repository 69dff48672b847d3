//! What the table needs from systems other than Linux: sleeping, time and names, by the standard library.
//!
//! A word to sleep on has a *lot*, found by the word's address, with the threads that sleep there.
//! Who sleeps looks at the word while it has the lot; who wakes changes the word before it takes the
//! lot. So a sleeper either sees the change or is found in the lot.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Acquire},
    },
    time::{Duration, Instant},
};

use once_cell::race::OnceBox;

use crate::os::per_process::PerProcess;

/// How many words a hub may ask for; [`futex_wait_any`] watches the first only.
pub(crate) const WATCH_MAX: usize = 1;

/// The longest sleep of a waiter: a signal does not end it here.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// Only a shared table asks for more than one word.
pub(crate) fn can_wait_for_many() -> bool {
    false
}

/// One word to sleep on, and the value it must still have.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) word: &'a AtomicU32,
    pub(crate) expected: u32,
}

/// A thread that sleeps, first come first.
struct Sleeper {
    address: usize,
    bell: Arc<Condvar>,
}

/// The sleepers of the words that share it.
#[derive(Default)]
struct Lot(Mutex<Vec<Sleeper>>);

/// The lots of this process. A forked child has its own: a thread that it does not have may have
/// held one of its parent's.
static LOTS: PerProcess<[Lot; LOT_COUNT]> = PerProcess::new();
const LOT_COUNT: usize = 64;

impl Lot {
    fn of(word: &AtomicU32) -> &'static Lot {
        // Fibonacci hashing: neighbours come to different lots.
        let hash = (address(word) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &LOTS.own(|| std::array::from_fn(|_| Lot::default()))[(hash >> 32) as usize % LOT_COUNT]
    }

    fn enter(&self) -> MutexGuard<'_, Vec<Sleeper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(word: &AtomicU32) -> usize {
    word.as_ptr().addr()
}

/// Sleeps until the word is woken, or `timeout` has passed; not at all if the word is not
/// `expected`. Spurious returns are allowed.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let lot = Lot::of(word);
    let mut sleepers = lot.enter();
    if word.load(Acquire) != expected {
        return;
    }
    // A bell of its own: thread::park would take wake-ups that the caller's executor is waiting for.
    let bell = Arc::new(Condvar::new());
    sleepers.push(Sleeper { address: address(word), bell: Arc::clone(&bell) });
    let (mut sleepers, _) = bell.wait_timeout(sleepers, timeout).unwrap_or_else(PoisonError::into_inner);
    // Still there after a time-out; whoever wakes takes it out.
    if let Some(place) = sleepers.iter().position(|sleeper| Arc::ptr_eq(&sleeper.bell, &bell)) {
        sleepers.remove(place);
    }
}

/// Wakes up to `count` sleepers of the word, in the order they came.
pub(crate) fn futex_wake(word: &AtomicU32, count: i32) {
    let mut left = count;
    // Frees no memory under a bucket's lock: the sleeper itself still has its bell.
    Lot::of(word).enter().retain(|sleeper| {
        let woken = left > 0 && sleeper.address == address(word);
        if woken {
            left -= 1;
            sleeper.bell.notify_one();
        }
        !woken
    });
}

/// Sleeps on the first word. A private table never asks for more: the others are those by which
/// processes watch each other.
pub(crate) fn futex_wait_any(watches: &[Watch<'_>], timeout: Duration) {
    if let [first, ..] = watches {
        futex_wait(first.word, first.expected, timeout);
    }
}

/// Time since this process first asked, on a clock that is never set back.
pub(crate) fn monotonic() -> Duration {
    static START: OnceBox<Instant> = OnceBox::new();
    START.get_or_init(|| Box::new(Instant::now())).elapsed()
}

/// How many processors this process may run on.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether the time stamp counter may be used: nobody here who could vouch for it.
pub(crate) fn trusts_ticks() -> Option<bool> {
    None
}

/// There are no time namespaces.
pub(crate) fn clock_offset() -> i64 {
    0
}

/// This machine's host name; empty if the system does not report it.
#[cfg(unix)]
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn host_name() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the call writes at most as many bytes as it is given, of which the last stays 0.
    let answer = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = if answer == 0 { name.iter().position(|byte| *byte == 0).unwrap_or(0) } else { 0 };
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// This machine's host name; empty if the system does not report it.
#[cfg(not(unix))]
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// A word that the kernel marks when this thread ends: there is none, and only `host:` asks.
pub(crate) fn lock_death_word(_place: &[AtomicU64; 8]) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Release;

    use super::*;

    /// No test ends by this: a wake-up that is lost is a test that hangs.
    const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

    fn sleepers_of(word: &AtomicU32) -> usize {
        Lot::of(word).enter().iter().filter(|sleeper| sleeper.address == address(word)).count()
    }

    fn until_asleep(word: &AtomicU32, count: usize) {
        while sleepers_of(word) != count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_word_that_changed_is_not_slept_on() {
        futex_wait(&AtomicU32::new(1), 0, FOR_EVER);
    }

    #[test]
    fn a_sleep_ends_with_its_time() {
        let word = AtomicU32::new(0);
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            futex_wait(&word, 0, Duration::from_millis(20));
        }
        assert_eq!(sleepers_of(&word), 0);
    }

    #[test]
    fn as_many_are_woken_as_were_asked_for_and_only_of_that_word() {
        let (word, other) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| futex_wait(&word, 0, FOR_EVER));
            }
            scope.spawn(|| futex_wait(&other, 0, FOR_EVER));
            until_asleep(&word, 4);
            until_asleep(&other, 1);
            futex_wake(&word, 0);
            assert_eq!(sleepers_of(&word), 4);
            futex_wake(&word, 1);
            assert_eq!(sleepers_of(&word), 3);
            futex_wake(&word, i32::MAX);
            assert_eq!((sleepers_of(&word), sleepers_of(&other)), (0, 1));
            futex_wake(&other, 1);
        });
    }

    #[test]
    fn no_wake_up_is_lost_between_two_who_take_turns() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for mine in [0, 1] {
                let word = &word;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        while word.load(Acquire) != mine {
                            futex_wait(word, 1 - mine, FOR_EVER);
                        }
                        word.store(1 - mine, Release);
                        futex_wake(word, 1);
                    }
                });
            }
        });
    }

    #[cfg(unix)]
    #[test]
    #[expect(unsafe_code, reason = "there is no other way to fork")]
    fn a_forked_child_does_not_meet_its_parent_s_sleepers() {
        let word = AtomicU32::new(0);
        let parents = Lot::of(&word).enter();
        // SAFETY: the child only uses lots and memory, which the C library makes usable after a
        // fork; it ends without running anything of the test harness.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            futex_wait(&word, 0, Duration::from_millis(1));
            futex_wake(&word, 1);
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        drop(parents);
    }

    #[test]
    fn time_goes_on() {
        let before = monotonic();
        while monotonic() == before {
            std::thread::yield_now();
        }
        assert!(monotonic() > before);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_host_has_its_name() {
        assert_eq!(host_name(), std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    }
}
