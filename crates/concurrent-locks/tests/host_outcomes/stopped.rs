//! A process is stopped (Ctrl-Z, a debugger): it is named, and only what it stands on waits for it.

use std::{thread, time::Duration};

use concurrent_locks::{ErrorKind, EventKind, LockManager, Mode};
use nix::sys::signal::Signal;

use crate::{
    child::Child,
    image::{ARMED, ASLEEP, Image, WAIT_WORD, WAITING},
    patience::{LONG, SHORT, until, until_waiting},
    space::Space,
};

#[test]
fn a_stopped_holder_is_named_and_goes_on() {
    let space = Space::new();
    let locks = space.connect();
    let mut holder = space.child();
    holder.take("a");
    holder.stop();
    let error = locks.write("a").timeout(SHORT).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let text = error.to_string();
    assert!(text.contains(&format!("pid {}", holder.pid())) && text.contains("by a child"), "{text}");
    assert_eq!(locks.health().blocking().unwrap().reaped, 0, "it is not dead");
    let waiter = thread::spawn({
        let locks = locks.clone();
        move || locks.write("a").timeout(LONG).blocking().map(drop)
    });
    until_waiting(&locks, "a", 1);
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.ask("release a"), "released");
    waiter.join().unwrap().unwrap();
}

/// Its turn comes while it is stopped: the next one is granted, and it stands where it stood.
#[test]
fn a_stopped_waiter_is_passed_over_and_keeps_its_place() {
    for role in ["taker", "future-waiter"] {
        let space = Space::new();
        let locks = space.connect();
        let guard = locks.write("a").blocking().unwrap();
        let (mut stopped, mut next, mut last) = (Child::start(role, &space.url()), space.child(), space.child());
        for (index, waiter) in [&mut stopped, &mut next].into_iter().enumerate() {
            waiter.send("write a 90000");
            until_waiting(&locks, "a", index + 1);
        }
        stopped.stop();
        let mut tokens = vec![guard.token()];
        drop(guard);
        tokens.push(next.token());
        last.send("write a 90000");
        until_waiting(&locks, "a", 2);
        let status = locks.status("a").blocking().unwrap().unwrap();
        assert_eq!(status.waiters.iter().map(|waiter| waiter.pid).collect::<Vec<_>>(), [stopped.pid(), last.pid()]);
        stopped.signal(Signal::SIGCONT);
        // It is asked for again only once it has looked: a released lock would go to the last one.
        until("a waiter that looks again", || {
            let image = space.image();
            let word = image.word(image.record_of(stopped.pid(), WAITING) + WAIT_WORD);
            [ASLEEP, ARMED].contains(&word)
        });
        assert_eq!(next.ask("release a"), "released");
        tokens.push(stopped.token());
        assert_eq!(stopped.ask("release a"), "released");
        tokens.push(last.token());
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
        assert_eq!(last.ask("release a"), "released");
        let counted = &locks.statistics("a").blocking().unwrap()[&Mode::Write];
        assert_eq!((counted.total_acquisitions, counted.total_errors), (4, 0), "a grant that nobody took up is none");
        assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
    }
}

/// All requests of a stopped process are passed over with the first: nobody waits for each of them in turn.
#[test]
fn a_stopped_process_is_passed_over_once() {
    let space = Space::new();
    let locks = space.connect();
    let guard = locks.write("wanted").blocking().unwrap();
    let stopped = Child::start("many-threads", &space.url());
    until_waiting(&locks, "wanted", 4);
    let mut next = space.child();
    next.send("write wanted 90000");
    until_waiting(&locks, "wanted", 5);
    until("four threads that sleep", || {
        let image = space.image();
        image.records_of(stopped.pid(), WAITING).iter().all(|record| image.word(record + WAIT_WORD) == ASLEEP)
    });
    let (_, cursor) = locks.events(None, Duration::ZERO).blocking().unwrap();
    stopped.stop();
    drop(guard);
    next.token();
    let (events, _) = locks.events(Some(cursor), Duration::ZERO).blocking().unwrap();
    let to_the_stopped = events.iter().filter(|event| event.kind == EventKind::Grant && event.pid == stopped.pid());
    assert_eq!(to_the_stopped.count(), 1, "{events:?}");
    assert_eq!(next.ask("release wanted"), "released");
    // The lock lies free, and all four still wait for it.
    assert_eq!(locks.status("wanted").blocking().unwrap().unwrap().pending_requests, 4);
    drop(locks.write("wanted").try_now().unwrap());
    stopped.signal(Signal::SIGCONT);
    until("nobody waits", || locks.status("wanted").blocking().unwrap().unwrap().pending_requests == 0);
}

/// Nobody waits behind it: there is nobody to pass it over.
#[test]
fn a_stopped_waiter_without_a_successor_is_granted_in_its_turn() {
    let space = Space::new();
    let locks = space.connect();
    let guard = locks.write("a").blocking().unwrap();
    let mut waiter = space.child();
    waiter.send("write a 90000");
    until_waiting(&locks, "a", 1);
    waiter.stop();
    drop(guard);
    let error = locks.write("a").timeout(SHORT).blocking().unwrap_err();
    assert_eq!(error.busy().unwrap().holders[0].pid, waiter.pid(), "it holds it, stopped as it is");
    waiter.signal(Signal::SIGCONT);
    waiter.token();
}

/// A process that holds and is stopped keeps what it holds, however long.
#[test]
fn what_was_taken_up_is_never_taken_back() {
    let space = Space::new();
    let locks = space.connect();
    let guard = locks.write("a").blocking().unwrap();
    let mut holder = space.child();
    holder.send("write a 90000");
    until_waiting(&locks, "a", 1);
    drop(guard);
    let token = holder.token();
    holder.stop();
    let settings = locks.settings().pass_over_after(Duration::ZERO);
    let error = locks.clone().with_settings(settings).write("a").timeout(3 * SHORT).blocking().unwrap_err();
    assert_eq!(error.busy().unwrap().holders[0].token, token);
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.ask("release a"), "released");
}

/// A process stopped in the middle of an operation on a bucket, and a name in another bucket.
struct Stuck {
    space: Space,
    locks: LockManager,
    stopped: Child,
    image: Image,
    elsewhere: String,
}

impl Stuck {
    /// The process is attached and idle; it will be stopped on the bucket of "a".
    fn new() -> Stuck {
        let space = Space::new();
        let locks = space.connect();
        let mut stopped = space.child();
        stopped.take("its-own");
        let image = space.image();
        let mut names = (0..).map(|index| format!("elsewhere-{index}"));
        let elsewhere = names.find(|name| image.bucket_of(name) != image.bucket_of("a")).unwrap();
        Stuck { space, locks, stopped, image, elsewhere }
    }

    /// Stops it, and makes the short lock look as if that was just when it held it.
    fn stop(&self) {
        self.stopped.stop();
        let bucket = self.image.bucket_of("a");
        assert_eq!(self.image.word(bucket), 0, "nobody is at it");
        self.image.write_word(bucket, self.image.short_lock_of(self.stopped.pid()));
    }

    /// It goes on, and first of all frees the short lock, as it would have done.
    fn go_on(&self) {
        self.image.write_word(self.image.bucket_of("a"), 0);
        self.stopped.signal(Signal::SIGCONT);
    }

    #[track_caller]
    fn assert_named(&self, error: &concurrent_locks::Error) {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let (text, pid) = (error.to_string(), self.stopped.pid());
        assert!(text.contains(self.space.path().to_str().unwrap()), "{text}");
        assert!(text.contains(&format!("process {pid} has been stopped")), "{text}");
        assert!(text.contains(&format!("kill -CONT {pid}")), "{text}");
    }

    #[track_caller]
    fn assert_all_is_well(&mut self) {
        drop(self.locks.write("a").timeout(LONG).blocking().unwrap());
        self.stopped.send("write a 90000");
        self.stopped.token();
        assert_eq!(self.stopped.ask("release a"), "released");
        assert_eq!(self.locks.health().blocking().unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn a_process_stopped_inside_the_short_lock_is_named_and_only_its_bucket_waits() {
    let mut stuck = Stuck::new();
    stuck.stop();
    let arrival = thread::spawn({
        let locks = stuck.locks.clone();
        move || locks.write("a").timeout(LONG).blocking().map(drop)
    });
    // Meanwhile the rest goes on, also in that process's other locks.
    while !arrival.is_finished() {
        stuck.locks.write(&stuck.elsewhere).try_now().unwrap().release().unwrap();
    }
    stuck.assert_named(&arrival.join().unwrap().unwrap_err());
    stuck.assert_named(&stuck.locks.write("a").try_now().unwrap_err());
    stuck.go_on();
    stuck.assert_all_is_well();
}

/// A waiter may get an error, but must not stay in the queue when it has gone.
#[test]
fn a_waiter_that_met_a_stopped_process_leaves_no_ghost_in_the_queue() {
    let mut stuck = Stuck::new();
    let guard = stuck.locks.write("a").blocking().unwrap();
    let waiter = thread::spawn({
        let locks = stuck.locks.clone();
        move || locks.write("a").timeout(LONG).blocking().map(drop)
    });
    until_waiting(&stuck.locks, "a", 1);
    stuck.stop();
    until("the short lock waited for", || {
        waiter.is_finished() || stuck.image.word(stuck.image.bucket_of("a")) & 1 != 0
    });
    // Twice as long as anybody waits for a short lock: if the waiter ever gets an error, it has got it.
    for _ in 0..2 {
        stuck.assert_named(&stuck.locks.write("a").try_now().unwrap_err());
    }
    stuck.go_on();
    drop(guard);
    if let Err(error) = waiter.join().unwrap() {
        stuck.assert_named(&error);
    }
    stuck.assert_all_is_well();
}

/// A release that could not reach its bucket must not leave a lock that nobody can release.
#[test]
fn a_release_that_met_a_stopped_process_is_made_up_for() {
    let mut stuck = Stuck::new();
    let guard = stuck.locks.write("a").blocking().unwrap();
    stuck.stop();
    // It may say so, or do it later.
    if let Err(error) = guard.release() {
        stuck.assert_named(&error);
    }
    stuck.go_on();
    stuck.assert_all_is_well();
}

#[test]
fn a_process_killed_inside_the_short_lock_is_replaced() {
    let mut stuck = Stuck::new();
    stuck.stop();
    stuck.stopped.kill();
    drop(stuck.locks.write("a").timeout(LONG).blocking().unwrap());
    drop(stuck.locks.write("its-own").timeout(LONG).blocking().unwrap());
    let health = stuck.locks.health().blocking().unwrap();
    assert!(health.rebuilds > 0, "{health:?}");
    assert_eq!(health.problems, Vec::<String>::new());
}

/// What a dead process held elsewhere is freed although one of its names lies in the bucket that cannot be
/// had; and newcomers come in.
#[test]
fn a_stopped_process_keeps_nobody_out_of_other_names_after_a_death() {
    let mut stuck = Stuck::new();
    let beside = (0..).map(|index| format!("beside-{index}"));
    let beside = beside.into_iter().find(|name| stuck.image.bucket_of(name) == stuck.image.bucket_of("a")).unwrap();
    let mut victim = stuck.space.child();
    // Before and after: whichever is cleaned up first.
    for name in ["earlier", &beside, "later"] {
        victim.take(name);
    }
    stuck.stop();
    victim.kill();
    for name in ["earlier", "later"] {
        drop(stuck.locks.write(name).timeout(LONG).blocking().unwrap());
    }
    let mut newcomer = stuck.space.child();
    newcomer.take(&stuck.elsewhere);
    stuck.assert_named(&stuck.locks.write(&beside).timeout(LONG).blocking().unwrap_err());
    stuck.go_on();
    drop(stuck.locks.write(&beside).timeout(LONG).blocking().unwrap());
    stuck.assert_all_is_well();
}
