//! A process dies, however it stands: what it held is handed on, what it waited for forgets it.

use std::{future::IntoFuture, thread};

use concurrent_locks::{ErrorKind, Mode};
use nix::sys::signal::Signal;

use crate::{
    child::{Child, Talk},
    image::{ARMED, ASLEEP, FREE, GRANTED, HELD, Image, TOKEN, WAIT_WORD, WAITING},
    patience::{LONG, SHORT, until, until_waiting},
    space::Space,
};

#[test]
fn a_hundred_locks_of_a_killed_process_come_free() {
    let space = Space::new();
    let locks = space.connect();
    let mut holder = space.child();
    let tokens: Vec<u64> = (0..100).map(|index| holder.take(&format!("n{index}"))).collect();
    let waiter = thread::spawn({
        let locks = locks.clone();
        move || locks.write("n50").timeout(LONG).blocking().map(|guard| guard.token())
    });
    until_waiting(&locks, "n50", 1);
    holder.kill();
    assert!(waiter.join().unwrap().unwrap() > tokens[50]);
    for (index, old) in tokens.iter().enumerate() {
        let guard = locks.write(&format!("n{index}")).timeout(LONG).blocking().unwrap();
        assert!(guard.token() > *old, "n{index}");
    }
    // Its place in the table is free for others, at the latest when the next one comes.
    let mut newcomer = space.child();
    assert_eq!(newcomer.ask("connect"), "connected 2");
    let health = locks.health().blocking().unwrap();
    assert_eq!((health.reaped, health.requests.used), (1, 0));
    assert_eq!(health.problems, Vec::<String>::new());
    assert_eq!(
        locks.statistics("n7").blocking().unwrap()[&Mode::Write].total_errors,
        1,
        "a holder that died is an error"
    );
}

#[test]
fn a_waiter_killed_at_the_head_or_in_the_middle_leaves_the_queue() {
    for dying in [0, 1] {
        let space = Space::new();
        let locks = space.connect();
        let guard = locks.write("a").blocking().unwrap();
        let mut waiters: Vec<Child> = (0..3).map(|_| space.child()).collect();
        for (index, waiter) in waiters.iter_mut().enumerate() {
            waiter.send("write a 90000");
            until_waiting(&locks, "a", index + 1);
        }
        waiters.remove(dying).kill();
        until_waiting(&locks, "a", 2);
        drop(guard);
        let first = waiters[0].token();
        assert_eq!(locks.status("a").blocking().unwrap().unwrap().pending_requests, 1);
        assert_eq!(waiters[0].ask("release a"), "released");
        assert!(waiters[1].token() > first);
        assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn readers_behind_a_killed_writer_join_the_reader_before_it() {
    let space = Space::new();
    let locks = space.connect();
    let _reading = locks.read("a").blocking().unwrap();
    let (mut writer, mut reader) = (space.child(), space.child());
    writer.send("write a 90000");
    until_waiting(&locks, "a", 1);
    reader.send("read a 90000");
    until_waiting(&locks, "a", 2);
    writer.kill();
    reader.token();
}

#[test]
fn a_process_with_many_threads_dies_as_one() {
    let space = Space::new();
    let locks = space.connect();
    let guard = locks.write("wanted").blocking().unwrap();
    let mut child = Child::start("many-threads", &space.url());
    until_waiting(&locks, "wanted", 4);
    for index in 0..4 {
        assert!(locks.status(&format!("n{index}")).blocking().unwrap().unwrap().writer_active);
    }
    child.kill();
    for index in 0..4 {
        let _free = locks.write(&format!("n{index}")).timeout(LONG).blocking().unwrap();
    }
    assert_eq!(locks.status("wanted").blocking().unwrap().unwrap().pending_requests, 0);
    drop(guard);
    let _free = locks.write("wanted").try_now().unwrap();
}

/// Four threads that hold a lock each and wait for another.
pub(crate) fn hold_and_wait_in_many_threads(talk: &mut Talk) {
    let locks = talk.connect();
    let thread = |index: usize| {
        let locks = locks.clone();
        thread::spawn(move || {
            let _held = locks.write(&format!("n{index}")).blocking().unwrap();
            let _wanted = locks.write("wanted").timeout(LONG).blocking().unwrap();
        })
    };
    let threads: Vec<_> = (0..4).map(thread).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The mark of the attaching thread's end is a hint, not a death.
#[test]
fn a_process_whose_attaching_thread_ended_keeps_its_locks() {
    let space = Space::new();
    let locks = space.connect();
    let mut child = Child::start("ended-attacher", &space.url());
    child.token();
    let error = locks.write("a").timeout(SHORT).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&format!("pid {}", child.pid())), "{error}");
    let health = locks.health().blocking().unwrap();
    assert!(health.reaped == 0 && health.attached.iter().all(|process| process.alive), "{health:?}");
    // It still can release it, and its real death is noticed.
    assert_eq!(child.ask("release"), "released");
    assert!(child.ask("again").starts_with("granted"));
    child.kill();
    let _free = locks.write("a").timeout(LONG).blocking().unwrap();
}

/// Attaches and locks in a thread that has ended before the first word.
pub(crate) fn attach_in_a_thread_that_ends(talk: &mut Talk) {
    let url = talk.url.clone();
    let first = thread::spawn(move || {
        let locks = concurrent_locks::LockManager::connect(&url).blocking().unwrap();
        let guard = locks.write("a").blocking().unwrap();
        (locks, guard)
    });
    let (locks, guard) = first.join().unwrap();
    talk.say(&format!("granted {}", guard.token()));
    talk.hear();
    guard.release().unwrap();
    talk.say("released");
    talk.hear();
    let again = locks.write("a").blocking();
    talk.say_result(&again);
    talk.hear();
}

/// A granter that died after it had made the waiter a holder, and before it had told it: whoever
/// takes its short lock over finishes what it began. Both moments, for a thread and for a future.
#[test]
fn a_grant_is_found_although_the_granter_died_in_the_middle() {
    for (role, asleep) in [("taker", ASLEEP), ("future-waiter", ARMED)] {
        for told in [None, Some(GRANTED)] {
            let space = Space::new();
            let locks = space.connect();
            let (mut granter, mut waiter) = (space.child(), Child::start(role, &space.url()));
            let old = granter.take("a");
            waiter.send("write a 90000");
            until_waiting(&locks, "a", 1);
            granter.stop();
            let image = space.image();
            stop_asleep(&image, &waiter, asleep);
            let new = half_a_release(&image, &granter, &waiter, old, told);
            granter.kill();
            waiter.signal(Signal::SIGCONT);
            assert_eq!(waiter.token(), new, "the grant that was committed, not another ({role}, {told:?})");
            let busy = locks.write("a").try_now().unwrap_err();
            assert_eq!(busy.busy().unwrap().holders[0].pid, waiter.pid());
            assert_eq!(waiter.ask("release a"), "released");
            assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
        }
    }
}

/// Stops a waiter while it sleeps on its wait word and holds no short lock.
fn stop_asleep(image: &Image, waiter: &Child, asleep: u32) {
    until("a waiter stopped in its sleep", || {
        waiter.stop();
        let record = image.record_of(waiter.pid(), WAITING);
        let sleeps = image.word(record + WAIT_WORD) == asleep && image.word(image.bucket_of("a")) == 0;
        if !sleeps {
            waiter.signal(Signal::SIGCONT);
        }
        sleeps
    });
}

/// What a release has stored by the time it has committed the grant; the grant's token.
fn half_a_release(image: &Image, granter: &Child, waiter: &Child, old: u64, told: Option<u32>) -> u64 {
    let bucket = image.bucket_of("a");
    image.write_word(bucket, image.short_lock_of(granter.pid()));
    image.commit(image.record_of(granter.pid(), HELD), FREE);
    let count = image.long(bucket + 8) + 1;
    image.write_long(bucket + 8, count);
    let record = image.record_of(waiter.pid(), WAITING);
    // The waiter's ticket was the last count, the holder's the one before.
    let new = old + 2;
    image.write_long(record + TOKEN, new);
    image.commit(record, HELD);
    if let Some(word) = told {
        image.write_word(record + WAIT_WORD, word);
    }
    new
}

/// Waits in a future, woken by the table's hub.
pub(crate) fn wait_in_a_future(talk: &mut Talk) {
    let locks = talk.connect();
    while talk.hear().is_some_and(|command| command.starts_with("write")) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(locks.write("a").timeout(LONG).into_future());
        talk.say_result(&result);
        if let Ok(guard) = result {
            talk.hear();
            guard.release().unwrap();
            talk.say("released");
        }
    }
}
