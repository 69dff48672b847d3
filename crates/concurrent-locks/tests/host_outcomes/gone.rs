//! The table file is deleted or replaced while it is in use: those who have it go on with what they
//! hold, waiters are notified, newcomers make a new one.

use std::{fs, thread, time::Duration};

use concurrent_locks::{ErrorKind, Standing};
use nix::sys::signal::Signal;

use crate::{
    child::Child,
    patience::{LONG, until_waiting},
    space::{Space, inode},
};

/// Deletes the table, or puts another in its place.
fn take_away(space: &Space, replace: bool) {
    if replace {
        fs::rename(space.copy("another"), space.path()).unwrap();
    } else {
        fs::remove_file(space.path()).unwrap();
    }
}

#[test]
fn a_waiting_thread_learns_that_the_table_is_gone() {
    for replace in [false, true] {
        let space = Space::new();
        let locks = space.connect();
        let mut holder = space.child();
        holder.take("a");
        let waiter = thread::spawn({
            let locks = locks.clone();
            move || locks.write("a").timeout(LONG).blocking()
        });
        until_waiting(&locks, "a", 1);
        take_away(&space, replace);
        let error = waiter.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let text = error.to_string();
        assert!(text.contains(space.path().to_str().unwrap()), "{text}");
        assert!(text.contains("deleted or replaced") && text.contains("end the processes that use it"), "{text}");
        // From then on all its users are notified, and at release a holder learns that it was not alone.
        assert_eq!(locks.write("b").try_now().unwrap_err().kind(), ErrorKind::Closed);
        holder.send("write b 0");
        holder.error(ErrorKind::Closed);
        holder.send("release a");
        let text = holder.error(ErrorKind::Lost);
        assert!(text.contains("held by another process") && text.contains("deleted or replaced"), "{text}");
    }
}

#[test]
fn a_waiting_future_learns_that_the_table_is_gone() {
    let space = Space::new();
    let locks = space.connect();
    let _guard = locks.write("a").blocking().unwrap();
    let mut waiter = Child::start("future-waiter", &space.url());
    waiter.send("write");
    until_waiting(&locks, "a", 1);
    take_away(&space, false);
    waiter.error(ErrorKind::Closed);
}

#[test]
fn newcomers_make_a_new_table() {
    let space = Space::new();
    let mut holder = space.child();
    let old_token = holder.take("a");
    let before = inode(&space.path());
    take_away(&space, false);
    let mut newcomer = space.child();
    assert_eq!(newcomer.ask("connect"), "connected 1");
    assert_ne!(inode(&space.path()), before);
    let token = newcomer.take("a");
    assert!(token > old_token, "whoever checks tokens is safe: {old_token}, then {token}");
    // They did not meet, so the first one is notified, however short its section was.
    holder.send("release a");
    holder.error(ErrorKind::Lost);
    assert_eq!(newcomer.ask("release a"), "released");
}

/// The lock of a deleted table is handed on in it; who gets it would be beside the newcomers.
#[test]
fn a_successor_in_a_deleted_table_does_not_enter() {
    let space = Space::new();
    let mut holder = space.child();
    holder.take("a");
    let mut waiter = space.child();
    waiter.send("write a 90000");
    until_waiting(&space.connect(), "a", 1);
    waiter.stop();
    take_away(&space, false);
    // Who has looked within a millisecond need not look again (I2): its last look is older when it goes on.
    thread::sleep(Duration::from_millis(2));
    holder.send("release a");
    holder.error(ErrorKind::Lost);
    waiter.signal(Signal::SIGCONT);
    waiter.error(ErrorKind::Closed);
}

/// Gone from its path, but not deleted: whoever knows only the path makes another.
#[test]
fn a_table_that_was_moved_is_left() {
    let space = Space::new();
    let locks = space.connect();
    let guard = locks.write("a").blocking().unwrap();
    fs::rename(space.path(), space.directory().join("moved")).unwrap();
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::Closed);
    // Put back, it goes on.
    fs::rename(space.directory().join("moved"), space.path()).unwrap();
    let _guard = locks.write("a").try_now().unwrap();
}

#[test]
fn the_doctor_sees_that_the_table_is_gone() {
    for replace in [false, true] {
        let space = Space::new();
        let locks = space.connect();
        assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
        take_away(&space, replace);
        let problems = locks.health().blocking().unwrap().problems;
        assert!(
            problems.iter().any(|problem| problem.contains("was deleted or replaced while in use")),
            "{problems:?}"
        );
    }
}

#[test]
fn a_lock_in_a_table_that_is_gone_is_not_verified() {
    for replace in [false, true] {
        let space = Space::new();
        let locks = space.connect();
        let guard = locks.write("a").blocking().unwrap();
        assert_eq!(guard.verify().blocking(), Standing::Held);
        take_away(&space, replace);
        assert_eq!(guard.verify().blocking(), Standing::Lost);
    }
}
