//! A process ends in good order: nobody has to find out, and no death is counted.

use std::process::exit;

use concurrent_locks::LockManager;
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::ForkResult,
};

use crate::{
    child::{Child, Talk},
    forked::fork_alone,
    patience::LONG,
    space::Space,
};

/// What a newcomer leads to, whom everybody's end has left something to do: deaths found, processes shown.
fn after_a_newcomer(space: &Space, locks: &LockManager) -> (u64, usize) {
    let mut newcomer = space.child();
    newcomer.take("newcomer");
    let health = locks.health().blocking().unwrap();
    assert_eq!(health.problems, Vec::<String>::new());
    (health.reaped, health.attached.len())
}

#[test]
fn a_normal_end_is_no_death() {
    let space = Space::new();
    let locks = space.connect();
    for _ in 0..3 {
        let mut child = space.child();
        child.take("a");
        assert_eq!(child.ask("release a"), "released");
        assert!(child.end().success());
        assert_eq!(locks.health().blocking().unwrap().attached.len(), 1, "it is not shown any more");
    }
    assert_eq!(after_a_newcomer(&space, &locks), (0, 2));
}

#[test]
fn a_normal_end_with_a_lock_held_is_as_a_death() {
    let space = Space::new();
    let locks = space.connect();
    let mut child = Child::start("forgetful", &space.url());
    child.token();
    assert!(child.end().success());
    drop(locks.write("a").timeout(LONG).blocking().unwrap());
    assert_eq!(after_a_newcomer(&space, &locks), (1, 2));
}

/// Takes a lock, and ends without giving it back.
pub(crate) fn forget_a_lock(talk: &mut Talk) {
    let guard = talk.connect().write("a").blocking();
    talk.say_result(&guard);
    std::mem::forget(guard);
    talk.hear();
}

#[test]
fn a_forked_child_s_end_is_not_its_parent_s() {
    let space = Space::new();
    let locks = space.connect();
    let mut parent = Child::start("parent-of-ended", &space.url());
    assert_eq!(parent.answer(), "the child has ended");
    parent.kill();
    assert_eq!(after_a_newcomer(&space, &locks), (1, 2), "a parent that was killed is a dead process");
}

/// Attaches, and forks a child that ends at once.
pub(crate) fn have_a_child_that_ends(talk: &mut Talk) {
    let locks = talk.connect();
    drop(locks.write("a").blocking().unwrap());
    match fork_alone() {
        ForkResult::Child => exit(0),
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            talk.say("the child has ended");
            talk.hear();
        }
    }
}

#[test]
fn what_is_taken_after_leaving_is_held_until_the_real_end() {
    let space = Space::new();
    let locks = space.connect();
    let mut child = Child::start("leaver", &space.url());
    let old = child.token();
    let error = locks.write("a").try_now().unwrap_err();
    assert_eq!(error.busy().unwrap().holders[0].pid, child.pid());
    assert!(
        locks.health().blocking().unwrap().attached.iter().any(|process| process.pid == child.pid() && process.alive)
    );
    // Somebody waits: it looks, since no mark will tell it.
    let waiter = std::thread::spawn({
        let locks = locks.clone();
        move || locks.write("a").timeout(LONG).blocking().map(|guard| guard.token())
    });
    crate::patience::until_waiting(&locks, "a", 1);
    child.kill();
    assert!(waiter.join().unwrap().unwrap() > old);
    assert_eq!(after_a_newcomer(&space, &locks), (0, 2));
}

/// Says that it is about to end, and takes a lock all the same.
pub(crate) fn go_on_after_leaving(talk: &mut Talk) {
    let locks = talk.connect();
    locks.detach().unwrap();
    let guard = locks.write("a").blocking();
    talk.say_result(&guard);
    talk.hear();
}
