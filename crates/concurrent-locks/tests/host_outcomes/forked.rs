//! Fork and exec: what is held belongs to one process, and to the program that took it.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, exit, id},
    thread,
};

use concurrent_locks::{ErrorKind, LockManager};
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};

use crate::{
    child::{Child, Talk},
    patience::{LONG, until},
    space::Space,
};

/// Forks a process in which only this thread does anything.
pub(crate) fn fork_alone() -> ForkResult {
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    assert!(threads <= 2, "besides this thread there is the harness, which waits for it");
    #[expect(unsafe_code, reason = "fork is what the tests are about")]
    // SAFETY: the only other thread waits for this one, so no lock of the allocator or of the
    // standard library is held by a thread that the child does not have; the child may do whatever
    // the parent may, and ends by `exit`.
    let forked = unsafe { fork() };
    forked.unwrap()
}

#[test]
fn a_forked_copy_of_a_guard_releases_nothing_and_dies_for_nobody() {
    let space = Space::new();
    let locks = space.connect();
    let mut parent = Child::start("forker", &space.url());
    parent.token();
    parent.send("fork");
    let forked = parent.answer();
    assert_ne!(forked, format!("forked {}", parent.pid()));
    // From here on the forked child answers.
    let mut child = parent;
    child.send("drop");
    child.error(ErrorKind::Lost);
    assert_eq!(locks.write("a").try_now().unwrap_err().busy().unwrap().holders[0].pid, child.pid());
    child.send("try a");
    child.error(ErrorKind::WouldBlock);
    child.send("try b");
    child.token();
    let holders = locks.status("b").blocking().unwrap().unwrap().holders;
    assert_eq!(format!("forked {}", holders[0].pid), forked, "it locks as its own process");
    assert_eq!(locks.health().blocking().unwrap().attached.len(), 3);
    // The parent dies, the child lives on: what the parent held is free, what the child holds is not.
    child.kill();
    drop(locks.write("a").timeout(LONG).blocking().unwrap());
    assert_eq!(locks.write("b").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    child.send("try a");
    child.token();
    child.send("exit");
    drop(locks.write("b").timeout(LONG).blocking().unwrap());
}

/// Takes a lock and forks; the child answers from then on.
pub(crate) fn fork_with_a_lock_held(talk: &mut Talk) {
    let locks = talk.connect();
    let guard = locks.write("a").blocking().unwrap();
    talk.say(&format!("granted {}", guard.token()));
    talk.hear();
    if let ForkResult::Parent { .. } = fork_alone() {
        loop {
            thread::park();
        }
    }
    talk.say(&format!("forked {}", id()));
    talk.hear();
    if let Err(error) = guard.release() {
        talk.say_error(&error);
    }
    let mut held = Vec::new();
    while let Some(command) = talk.hear() {
        let result = locks.write(command.strip_prefix("try ").unwrap()).try_now();
        talk.say_result(&result);
        held.extend(result);
    }
    exit(0);
}

#[test]
fn a_private_table_is_blank_in_a_forked_child() {
    let mut parent = Child::start("local-forker", "local:forked");
    assert_eq!(parent.answer(), "the child found it blank");
    assert_eq!(parent.answer(), "the parent still holds it");
}

/// Forks with a lock of a private table held, uses the table in the child, and looks again.
pub(crate) fn fork_with_a_private_table(talk: &mut Talk) {
    let locks = talk.connect();
    let guard = locks.write("a").blocking().unwrap();
    match fork_alone() {
        ForkResult::Child => {
            assert!(locks.status_all().blocking().unwrap().is_empty());
            assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
            let again = locks.write("a").try_now().unwrap();
            let other: Result<LockManager, _> = LockManager::connect(&talk.url).blocking();
            assert_eq!(other.unwrap().write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
            again.release().unwrap();
            talk.say("the child found it blank");
            exit(0);
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
            guard.release().unwrap();
            talk.say("the parent still holds it");
            talk.hear();
        }
    }
}

#[test]
fn exec_drops_what_is_held() {
    let space = Space::new();
    let locks = space.connect();
    let mut child = Child::start("becomes-another-program", &space.url());
    child.token();
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    child.send("become");
    drop(locks.write("a").timeout(LONG).blocking().unwrap());
    let program = || fs::read_to_string(format!("/proc/{}/comm", child.pid())).unwrap();
    until("another program in the same process", || program().trim() == "cat");
}

/// Holds a lock, and becomes `cat`.
pub(crate) fn become_another_program(talk: &mut Talk) {
    let guard = talk.connect().write("a").blocking();
    talk.say_result(&guard);
    talk.hear();
    panic!("exec: {}", Command::new("cat").exec());
}
