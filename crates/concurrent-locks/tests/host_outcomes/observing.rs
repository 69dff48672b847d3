//! Looking without taking part: nothing is made, nothing is waited for, and what cannot be seen is said.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use concurrent_locks::{ErrorKind, LockManager, ProcessState};
use nix::sys::signal::Signal;

use crate::{
    child::Child,
    image::{self, HELD},
    patience::{LONG, until, until_waiting},
    sandbox::skip,
    space::{Space, inode},
};

fn observe(space: &Space) -> LockManager {
    LockManager::observe(&space.url()).blocking().unwrap()
}

/// The state of the process that holds `name`.
#[track_caller]
fn holder(eye: &LockManager, name: &str) -> (u32, ProcessState) {
    let status = eye.status(name).blocking().unwrap().expect("a known lock");
    let holder = status.holders.first().expect("a holder");
    (holder.pid, holder.process)
}

#[test]
fn a_look_at_locks_that_nobody_has_used_makes_nothing() {
    let space = Space::new();
    let eye = observe(&space);
    assert!(eye.status_all().blocking().unwrap().is_empty());
    assert!(eye.status("a").blocking().unwrap().is_none());
    assert!(eye.statistics_all().blocking().unwrap().is_empty());
    assert!(eye.deadlocks().blocking().unwrap().cycles.is_empty());
    assert_eq!(eye.events(None, Duration::ZERO).blocking().unwrap().0.len(), 0);
    assert_eq!(eye.health().blocking().unwrap().problems, Vec::<String>::new());
    assert!(eye.absence().unwrap().contains(space.path().to_str().unwrap()));
    assert_eq!(fs::read_dir(space.directory()).unwrap().count(), 0, "it made something");
    let missing = space.directory().join("no/such/folder/t.table");
    let eye = LockManager::observe(&format!("host:{}", missing.display())).blocking().unwrap();
    assert!(eye.status_all().blocking().unwrap().is_empty() && eye.absence().is_some());
}

#[test]
fn an_observer_sees_what_there_is_and_takes_no_part() {
    let space = Space::new();
    let eye = observe(&space);
    let mut other = space.child();
    let token = other.take("a");
    let locks = space.connect();
    let waiter = thread::spawn({
        let locks = locks.clone();
        move || locks.write("a").timeout(LONG).blocking().map(drop)
    });
    until_waiting(&eye, "a", 1);
    assert!(eye.absence().is_none(), "the table came after the observer");
    let status = eye.status_all().blocking().unwrap().remove("a").unwrap();
    assert_eq!((status.holders[0].token, status.holders[0].pid), (token, other.pid()));
    assert_eq!(status.holders[0].process, ProcessState::Alive);
    assert_eq!((status.waiters[0].pid, status.waiters[0].process), (std::process::id(), ProcessState::Alive));
    assert_eq!(eye.statistics("a").blocking().unwrap().len(), 1);
    assert_eq!(eye.health().blocking().unwrap().processes.used, 2, "the observer is no process of the table");
    assert_eq!(eye.health().blocking().unwrap().problems, Vec::<String>::new());
    assert_eq!(eye.unseen(), Vec::<String>::new());
    for refused in [
        eye.write("b").try_now().map(drop),
        eye.read("b").blocking().map(drop),
        eye.owner("me").map(drop),
        eye.break_lock("a", token).blocking().map(drop),
        eye.reset_statistics(None).blocking(),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(other.ask("release a"), "released");
    waiter.join().unwrap().unwrap();
    assert!(eye.status("a").blocking().unwrap().unwrap().holders.is_empty());
}

#[test]
fn an_observer_sees_a_full_table() {
    let space = Space::with_capacity("resources=64&requests=64&processes=2");
    let (mut one, mut two) = (space.child(), space.child());
    one.take("a");
    two.take("b");
    let error = LockManager::connect(&space.url()).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    let eye = observe(&space);
    assert_eq!(eye.status_all().blocking().unwrap().len(), 2);
    assert_eq!(eye.health().blocking().unwrap().processes.used, 2);
}

#[test]
fn a_dead_holder_is_shown_as_such_and_left_to_others() {
    let space = Space::new();
    let mut other = space.child();
    other.take("a");
    let eye = observe(&space);
    assert_eq!(holder(&eye, "a"), (other.pid(), ProcessState::Alive));
    other.kill();
    for _ in 0..2 {
        assert_eq!(holder(&eye, "a"), (other.pid(), ProcessState::Dead));
    }
    assert_eq!(eye.health().blocking().unwrap().reaped, 0, "an observer cleans nothing up");
    drop(space.connect().write("a").timeout(LONG).blocking().unwrap());
    assert!(eye.status("a").blocking().unwrap().unwrap().holders.is_empty());
}

/// By an observer, by a process that takes part, and by one that comes meanwhile: all verbs that look.
#[test]
fn a_process_stopped_inside_the_short_lock_blinds_nobody() {
    let space = Space::new();
    let locks = space.connect();
    let mut stopped = space.child();
    stopped.take("its-own");
    let guard = locks.write("a").blocking().unwrap();
    let other = locks.write("other").blocking().unwrap();
    let image = space.image();
    stopped.stop();
    image.write_word(image.bucket_of("a"), image.short_lock_of(stopped.pid()));
    for eye in [observe(&space), locks.clone()] {
        let all = eye.status_all().blocking().unwrap();
        let told = |unseen: Vec<String>| {
            let text = unseen.join("; ");
            assert!(text.contains(&format!("process {}", stopped.pid())) && text.contains("\"a\""), "{text:?}");
            assert!(!text.contains("\"other\""), "{text}");
        };
        told(eye.unseen());
        for (name, token) in [("a", guard.token()), ("other", other.token())] {
            assert_eq!(all[name].holders[0].token, token, "{name} is held all the same");
        }
        assert_eq!(eye.status("a").blocking().unwrap().unwrap().holders[0].token, guard.token());
        told(eye.unseen());
        assert_eq!(eye.status("other").blocking().unwrap().unwrap().holders[0].token, other.token());
        assert_eq!(eye.statistics_all().blocking().unwrap()["a"].values().next().unwrap().current_holders, 1);
        told(eye.unseen());
        assert!(eye.deadlocks().blocking().unwrap().cycles.is_empty());
        told(eye.unseen());
        let problems = eye.health().blocking().unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(&stopped.pid().to_string())), "{problems:?}");
    }
    // Of a name that is not known yet it cannot be said that it is free.
    let beside = (0..).map(|index| format!("beside-{index}"));
    let beside = beside.into_iter().find(|name| image.bucket_of(name) == image.bucket_of("a")).unwrap();
    let eye = observe(&space);
    assert!(eye.status(&beside).blocking().unwrap().is_none() && !eye.unseen().is_empty());
    image.write_word(image.bucket_of("a"), 0);
    stopped.signal(Signal::SIGCONT);
    assert!(eye.status("a").blocking().unwrap().is_some() && eye.unseen().is_empty());
    drop((guard, other));
}

#[test]
fn what_is_wrong_in_a_table_is_seen_from_outside() {
    let space = Space::new();
    let mut other = space.child();
    other.take("a");
    let eye = observe(&space);
    assert_eq!(eye.health().blocking().unwrap().problems, Vec::<String>::new());
    let image = space.image();
    image.commit(image.record_of(other.pid(), HELD), image::FREE);
    let problems = eye.health().blocking().unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("a free record is in the queue")), "{problems:?}");
}

#[test]
fn an_observer_follows_a_table_that_is_replaced() {
    let space = Space::new();
    let mut other = space.child();
    other.take("a");
    let eye = observe(&space);
    let (_, cursor) = eye.events(None, Duration::ZERO).blocking().unwrap();
    fs::remove_file(space.path()).unwrap();
    assert!(eye.status("a").blocking().unwrap().is_none() && eye.absence().is_some());
    let mut newcomer = space.child();
    newcomer.take("b");
    assert_eq!(holder(&eye, "b").0, newcomer.pid());
    // It is known there by now that somebody watches, whatever happened before.
    let mut cursor = cursor;
    until("events of the new table", || {
        assert_eq!(newcomer.ask("release b"), "released");
        newcomer.take("b");
        let (events, next) = eye.events(Some(cursor), Duration::from_millis(1)).blocking().unwrap();
        cursor = next;
        events.iter().any(|event| event.resource == "b")
    });
}

#[test]
fn root_looks_at_the_table_of_another_user_and_takes_no_part() {
    let space = Space::new();
    let mut other = space.child();
    other.take("a");
    if fs::metadata(space.path()).unwrap().uid() != 0 {
        return skip("only root may look at the table of another user");
    }
    chown(space.path(), Some(65_534), None).unwrap();
    let (before, image) = (fs::metadata(space.path()).unwrap(), inode(&space.path()));
    let eye = observe(&space);
    assert_eq!(holder(&eye, "a"), (other.pid(), ProcessState::Alive));
    assert_eq!(eye.health().blocking().unwrap().requests.used, 1);
    eye.events(None, Duration::ZERO).blocking().unwrap();
    assert_eq!(LockManager::connect(&space.url()).blocking().unwrap_err().kind(), ErrorKind::Permission);
    assert_eq!((before.uid(), image), (fs::metadata(space.path()).unwrap().uid(), inode(&space.path())));
    // What others could have written is not looked at either.
    fs::set_permissions(space.path(), Permissions::from_mode(0o666)).unwrap();
    let eye = LockManager::observe(&space.url_of(&space.copy("open"))).blocking().map(drop);
    assert_eq!(eye.unwrap_err().kind(), ErrorKind::Permission);
}

/// While locks change hands as fast as they can, no look shows two holders of a lock that one holds alone.
#[test]
fn what_is_seen_in_passing_is_of_one_moment() {
    let space = Space::new();
    let locks = space.connect();
    let eye = observe(&space);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    drop(locks.write("hot").timeout(LONG).blocking().unwrap());
                }
            });
        }
        for _ in 0..2_000 {
            let Some(status) = eye.status("hot").blocking().unwrap() else { continue };
            assert!(status.holders.len() <= 1, "{status:?}");
            assert!(status.waiters.len() <= 3, "{status:?}");
        }
        done.store(true, Relaxed);
    });
}

#[test]
fn a_table_of_another_version_is_reported_while_somebody_is_in_it() {
    let space = Space::new();
    let mut other: Child = space.child();
    other.take("a");
    let image = space.image();
    image.write_word(image::LAYOUT, image.word(image::LAYOUT) + 1);
    let error = LockManager::observe(&space.url()).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    other.kill();
    let eye = LockManager::observe(&space.url()).blocking().unwrap();
    assert!(eye.absence().is_some() && space.path().exists(), "it is left for whoever uses it next");
}
