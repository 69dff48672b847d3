//! A participant that does not keep the rules writes random bytes into the table while others use
//! it. Nothing is promised about their locks then; but they must not crash, and must not hang
//! beyond their time-outs, and their errors must say what it is.

use std::{
    collections::BTreeSet,
    future::IntoFuture,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use concurrent_locks::{Error, ErrorKind, LockManager, Mode};

use crate::{
    child::{Child, Talk},
    image::{Image, KNOWN, PLACES_KNOWN},
    patience::until,
    space::Space,
};

/// What damage may look like to those who meet it, besides what busy locks look like.
const ALLOWED: [&str; 8] = ["Corrupt", "TimedOut", "WouldBlock", "Lost", "Closed", "Unreachable", "Full", "Deadlock"];

/// A small generator (xorshift), so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[test]
fn random_bytes_in_the_table_crash_and_hang_nobody() {
    for seed in [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x2545_f491_4f6c_dd1d] {
        // Small, so that every byte matters.
        let space = Space::with_capacity("resources=32&requests=128&processes=8");
        let mut hammers: Vec<Child> = (0..3).map(|_| Child::start("hammer", &space.url())).collect();
        for hammer in &mut hammers {
            assert_eq!(hammer.answer(), "hammering");
        }
        scribble(&space.image(), &mut Random(seed));
        for mut hammer in hammers {
            hammer.send("stop");
            let kinds = hammer.answer();
            for kind in kinds.split_whitespace() {
                assert!(ALLOWED.contains(&kind), "seed {seed:#x}: {kind} in {kinds}");
            }
            assert!(hammer.end().success(), "seed {seed:#x}");
        }
        // With everybody gone, it is a table or it is not one.
        let mut newcomer = space.child();
        newcomer.send("write a 100");
        let answer = newcomer.answer();
        let kind = answer.trim_start_matches("error ").split(':').next().unwrap();
        assert!(answer.starts_with("granted") || ALLOWED.contains(&kind), "seed {seed:#x}: {answer}");
    }
}

#[test]
fn what_a_bucket_remembers_is_never_trusted() {
    let space = Space::new();
    let locks = space.connect();
    drop(locks.write("a").try_now().unwrap());
    let other = locks.write("b").try_now().unwrap();
    let image = space.image();
    let known = |name: &str| image.bucket_of(name) + KNOWN;
    assert_ne!(known("a"), known("b"));
    let (of_a, of_b) = (image.long(known("a")), image.long(known("b")));
    assert_ne!(of_a as u32, 0, "the bucket remembers its name");
    // "a" is where "b" is; beyond the end; nowhere.
    for place in [of_b as u32, u32::MAX, 0] {
        for entry in 0..PLACES_KNOWN {
            image.write_long(known("a") + 8 * entry, of_a >> 32 << 32 | u64::from(place));
        }
        let own = locks.write("a").try_now().unwrap();
        assert_eq!(own.name().unwrap(), "a");
        assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(locks.status_all().blocking().unwrap().len(), 2, "no second resource of one name");
    assert_eq!(locks.health().blocking().unwrap().corrupt, 0);
    other.release().unwrap();
}

/// Random words at random places: half of them small numbers, which look like indices and states;
/// a few in the header, most in what is in use.
fn scribble(image: &Image, random: &mut Random) {
    let used: Vec<u64> =
        (0..image.len() / 4096).map(|page| page * 4096).filter(|page| image.long(*page) != 0).collect();
    for round in 0..4000 {
        let page = if random.next(4) == 0 {
            random.next(image.len() / 4096) * 4096
        } else {
            used[random.next(used.len() as u64) as usize]
        };
        let word = if random.next(2) == 0 { random.next(64) } else { random.next(u64::MAX) };
        image.write_word(page + random.next(1024) * 4, word as u32);
        if round % 16 == 0 {
            // Lets the others meet it before the next.
            thread::yield_now();
        }
    }
}

/// Uses every verb in threads and a future until told to stop; says which errors it met.
pub(crate) fn hammer(talk: &mut Talk) {
    let locks = talk.connect();
    let stop = AtomicBool::new(false);
    let kinds = thread::scope(|scope| {
        let works = [lock_and_release, lock_by_owner, look, lock_in_a_future];
        let threads: Vec<_> = works
            .into_iter()
            .map(|work| {
                let (locks, stop) = (locks.clone(), &stop);
                scope.spawn(move || {
                    let mut kinds = BTreeSet::new();
                    for round in 0.. {
                        if stop.load(Relaxed) {
                            break;
                        }
                        let result = work(&locks, &format!("n{}", round % 40));
                        kinds.extend(result.err().map(|error| format!("{:?}", error.kind())));
                    }
                    kinds
                })
            })
            .collect();
        talk.say("hammering");
        talk.hear();
        stop.store(true, Relaxed);
        until("the end of all threads, each within its time-outs", || {
            threads.iter().all(|thread| thread.is_finished())
        });
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<BTreeSet<String>>()
    });
    // An answer of no words would look like a missing one.
    talk.say(&format!(" {}", kinds.into_iter().collect::<Vec<_>>().join(" ")));
    talk.hear();
}

const BRIEF: Duration = Duration::from_millis(5);

fn lock_and_release(locks: &LockManager, name: &str) -> Result<(), Error> {
    let mut guard = locks.write(name).timeout(BRIEF).blocking()?;
    guard.downgrade()?;
    guard.release()
}

fn lock_by_owner(locks: &LockManager, name: &str) -> Result<(), Error> {
    let owner = locks.owner("a labelled one")?;
    let mut outer = owner.read(name).timeout(BRIEF).blocking()?;
    let _inner = owner.read(name).try_now()?;
    let all = owner.lock_all([("n1", Mode::Read), ("n2", Mode::Write)]).timeout(BRIEF).blocking();
    outer.upgrade().timeout(BRIEF).blocking()?;
    drop(all?);
    outer.release()
}

fn look(locks: &LockManager, name: &str) -> Result<(), Error> {
    locks.status(name).blocking()?;
    locks.status_all().blocking()?;
    locks.statistics_all().blocking()?;
    locks.deadlocks().blocking()?;
    locks.events(Some(0), Duration::ZERO).blocking()?;
    locks.health().blocking()?;
    locks.reset_statistics(Some(name)).blocking()
}

fn lock_in_a_future(locks: &LockManager, name: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(locks.write(name).timeout(BRIEF).into_future())?.release()
}
