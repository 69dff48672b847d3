//! All schedules of the two lock-free protocols, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p concurrent-locks --lib loom_ --release`.
//!
//! The kernel's part is modelled too: a futex by a mutex and a condition variable, without time, so
//! that a lost wake-up is a deadlock, which loom reports. Death is a thread that stops half way and
//! a flag the kernel sets afterwards.

use loom::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread,
};

use crate::engine::table::protocol::{
    atomic_word::AtomicWord,
    short_lock::{self, Name},
    wait_word::{self, Found, Wake},
};

impl AtomicWord for AtomicU32 {
    fn get(&self) -> u32 {
        self.load(Acquire)
    }

    fn replace(&self, value: u32) -> u32 {
        self.swap(value, AcqRel)
    }

    fn change(&self, from: u32, to: u32) -> Result<(), u32> {
        self.compare_exchange(from, to, AcqRel, Acquire).map(drop)
    }
}

/// A word and the kernel's queue of those who sleep on it.
struct Futex {
    word: AtomicU32,
    kernel: Mutex<()>,
    sleepers: Condvar,
}

impl Futex {
    fn new() -> Futex {
        Futex { word: AtomicU32::new(0), kernel: Mutex::new(()), sleepers: Condvar::new() }
    }

    /// Sleeps until a wake-up, if the word is still `expected`. The kernel compares and queues
    /// under one lock.
    fn wait(&self, expected: u32) {
        let kernel = self.kernel.lock().unwrap();
        if self.word.get() == expected {
            drop(self.sleepers.wait(kernel).unwrap());
        }
    }

    fn wake_one(&self) {
        let _kernel = self.kernel.lock().unwrap();
        self.sleepers.notify_one();
    }
}

/// What a bucket's lock covers: plain data, which only the lock makes safe to change.
#[derive(Default)]
struct Covered {
    inside: AtomicBool,
    count: AtomicU32,
}

impl Covered {
    fn change(&self) {
        assert!(!self.inside.swap(true, Relaxed), "two at once");
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
        self.inside.store(false, Relaxed);
    }
}

/// Up to three preemptions find what the protocols can get wrong; more takes hours.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(check);
}

/// The slow path of `locked.rs`, with `is_dead` in the place of the kernel's file lock.
fn lock(futex: &Futex, me: Name, is_dead: impl Fn(Name) -> bool) -> Taken {
    if short_lock::try_lock(&futex.word, me) {
        return Taken::Free;
    }
    loop {
        let word = match short_lock::lock_or_announce(&futex.word, me) {
            Ok(()) => return Taken::Free,
            Err(word) => word,
        };
        let owner = Name::of(word).expect("only words of processes are stored");
        if is_dead(owner) {
            if short_lock::take_over(&futex.word, word, me) {
                return Taken::FromTheDead;
            }
            continue;
        }
        futex.wait(word);
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Taken {
    Free,
    FromTheDead,
}

fn unlock(futex: &Futex) {
    if short_lock::unlock(&futex.word) {
        futex.wake_one();
    }
}

#[test]
fn loom_short_lock_excludes_and_forgets_no_sleeper() {
    model(|| {
        let shared = Arc::new((Futex::new(), Covered::default()));
        let work = |slot| {
            let shared = Arc::clone(&shared);
            move || {
                let (futex, covered) = &*shared;
                lock(futex, Name::new(slot, 1), |_| false);
                covered.change();
                unlock(futex);
            }
        };
        let others = [thread::spawn(work(1)), thread::spawn(work(2))];
        work(0)();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.1.count.load(Relaxed), 3);
        assert_eq!(shared.0.word.get(), 0);
    });
}

#[test]
fn loom_short_lock_of_the_dead_is_taken_over_once() {
    model(|| {
        let shared = Arc::new((Futex::new(), Covered::default(), AtomicBool::new(false)));
        let dead = Name::new(7, 1);
        assert!(short_lock::try_lock(&shared.0.word, dead));
        let work = |slot| {
            let shared = Arc::clone(&shared);
            move || {
                let (futex, covered, died) = &*shared;
                let taken = lock(futex, Name::new(slot, 1), |owner| {
                    // The real sleeper asks every 2 ms. Time does not pass here, so it waits for the answer.
                    while owner == dead && !died.load(Acquire) {
                        thread::yield_now();
                    }
                    owner == dead
                });
                covered.change();
                unlock(futex);
                taken
            }
        };
        let other = thread::spawn(work(1));
        // What the dead process did before it died is visible to the one that takes over.
        shared.1.change();
        shared.2.store(true, Release);
        let mine = work(0)();
        let theirs = other.join().unwrap();
        assert!((mine == Taken::FromTheDead) != (theirs == Taken::FromTheDead), "rebuilt once");
        assert_eq!(shared.1.count.load(Relaxed), 3);
    });
}

/// A waiter's record: its committed state and its wait word.
struct Waiter {
    held: AtomicBool,
    grant: Futex,
}

impl Waiter {
    fn queued() -> Arc<Waiter> {
        Arc::new(Waiter { held: AtomicBool::new(false), grant: Futex::new() })
    }

    /// The loop of `park.rs`.
    fn park(&self, mut nudged: impl FnMut()) {
        loop {
            match wait_word::look(&self.grant.word) {
                Found::Granted => break,
                Found::Nudged => nudged(),
                Found::Nothing => {
                    if wait_word::arm(&self.grant.word, Wake::Thread) {
                        self.grant.wait(wait_word::ASLEEP);
                    }
                }
            }
        }
        assert!(self.held.load(Relaxed), "W1: told before it was true");
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::None => {}
            Wake::Thread => self.grant.wake_one(),
            Wake::Future => panic!("the waiter is a thread"),
        }
    }

    fn grant(&self) {
        self.held.store(true, Relaxed);
        self.wake(wait_word::grant(&self.grant.word));
    }
}

#[test]
fn loom_wait_word_loses_no_grant() {
    model(|| {
        let waiter = Waiter::queued();
        let granter = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || waiter.grant()
        });
        waiter.park(|| panic!("nobody nudged"));
        granter.join().unwrap();
        assert_eq!(waiter.grant.word.get(), wait_word::ACKNOWLEDGED);
    });
}

#[test]
fn loom_wait_word_a_nudge_hides_no_grant() {
    model(|| {
        let waiter = Waiter::queued();
        let granter = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || waiter.grant()
        });
        let nudger = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || waiter.wake(wait_word::nudge(&waiter.grant.word))
        });
        let mut nudges = 0;
        waiter.park(|| nudges += 1);
        granter.join().unwrap();
        nudger.join().unwrap();
        assert!(nudges <= 1);
        assert_eq!(waiter.grant.word.get(), wait_word::ACKNOWLEDGED, "the grant stands");
    });
}

#[test]
fn loom_wait_word_a_granter_that_dies_before_its_wake_is_made_good() {
    model(|| {
        let waiter = Waiter::queued();
        let others = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || {
                // The granter dies here, with the wake-up owed.
                waiter.held.store(true, Relaxed);
                let _owed = wait_word::grant(&waiter.grant.word);
                // Whoever rebuilds wakes what is held and not acknowledged (W2).
                if waiter.grant.word.get() != wait_word::ACKNOWLEDGED {
                    waiter.grant.wake_one();
                }
            }
        });
        waiter.park(|| panic!("nobody nudged"));
        others.join().unwrap();
    });
}

#[test]
fn loom_wait_word_a_granter_that_dies_before_it_tells_is_made_good() {
    model(|| {
        let waiter = Waiter::queued();
        let others = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || {
                // The granter dies after the commit, before the wait word.
                waiter.held.store(true, Relaxed);
                // The rebuild finds a held record that is not acknowledged, and wakes it again.
                waiter.grant();
                waiter.grant();
            }
        });
        waiter.park(|| panic!("nobody nudged"));
        others.join().unwrap();
        assert!(waiter.held.load(Relaxed));
    });
}

/// W4: the waiter takes the grant up, or the next in line takes it back and hands it on: never both.
#[test]
fn loom_wait_word_a_grant_is_taken_up_or_taken_back() {
    model(|| {
        let shared = Arc::new((Waiter::queued(), Covered::default()));
        shared.0.grant();
        let next = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (sleeper, covered) = &*shared;
                if wait_word::take_back(&sleeper.grant.word) {
                    sleeper.held.store(false, Relaxed);
                    covered.change();
                    // Its release hands the lock to the sleeper, which looks meanwhile.
                    sleeper.grant();
                }
            }
        });
        shared.0.park(|| {});
        shared.1.change();
        next.join().unwrap();
        assert_eq!(shared.0.grant.word.get(), wait_word::ACKNOWLEDGED);
    });
}

/// A sleeper that is left out is woken, and sleeps no more before it has looked.
#[test]
fn loom_wait_word_who_is_passed_over_looks() {
    model(|| {
        let waiter = Waiter::queued();
        let passer = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || {
                let wake = wait_word::pass_over(&waiter.grant.word);
                waiter.wake(wake);
                wake
            }
        });
        let mut looks = 0;
        let granter = thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || waiter.grant()
        });
        waiter.park(|| looks += 1);
        granter.join().unwrap();
        let asked = passer.join().unwrap() != Wake::None;
        assert!(looks <= u32::from(asked));
    });
}
