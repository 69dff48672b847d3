//! A table that is not the others': a sandbox with a `/dev/shm` of its own is refused while processes
//! outside use the same space, and they while it does; a folder that both see is the way out.

use std::{fs, path::PathBuf};

use concurrent_locks::{ErrorKind, LockManager};

use crate::{
    child::Child,
    patience::{LONG, until},
    sandbox::{self, Wrapper, own_shared_memory, words},
    space::Space,
};

/// A space of `host:` that no other test uses; its table is removed when dropped.
struct Named(String);

impl Named {
    fn new(name: &str) -> Named {
        Named(format!("test-{name}-{}", std::process::id()))
    }

    fn url(&self) -> String {
        format!("host:{}", self.0)
    }

    fn path(&self) -> PathBuf {
        format!("/dev/shm/concurrent-locks-{}/{}.table", nix::unistd::geteuid(), self.0).into()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // Gone already, in some tests.
        let _ = fs::remove_file(self.path());
    }
}

/// Coding agents run commands so: everything is there to read, `/dev` is their own.
fn bubblewrap(more: &[&str]) -> Option<Wrapper> {
    let options =
        ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--die-with-parent"];
    let wrapper = options.iter().chain(more).map(|word| (*word).to_owned()).collect();
    sandbox::first_that_works([wrapper], "bubblewrap (`bwrap`)")
}

/// Kinds of sandboxes with a `/dev/shm` of their own.
fn sandboxes() -> Vec<Wrapper> {
    [bubblewrap(&[]), own_shared_memory("64m", "true")].into_iter().flatten().collect()
}

#[track_caller]
fn assert_refused(child: &mut Child, space: &Named) {
    let error = child.error(ErrorKind::Unreachable);
    assert!(error.contains(&space.url()) && error.contains("another lock table"), "{error}");
    assert!(error.contains("host:/path/to/table") && error.contains("LOCKS_SPACE"), "{error}");
}

#[test]
fn a_sandbox_with_its_own_shared_memory_is_refused_while_others_use_the_space() {
    for sandbox in sandboxes() {
        let space = Named::new("outside-first");
        let mut outside = Child::start("taker", &space.url());
        outside.take("a");
        let mut inside = Child::start_under(&words(&sandbox), "taker", &space.url());
        inside.send("write a 0");
        assert_refused(&mut inside, &space);
        // Those outside do not notice.
        let mut second = Child::start("taker", &space.url());
        second.take("b");
        // Nobody is locked out for ever: it is a matter of who lives.
        outside.kill();
        second.kill();
        inside.take("a");
        let mut third = Child::start("taker", &space.url());
        third.send("write a 0");
        assert_refused(&mut third, &space);
    }
}

/// Two that see their home read only notice each other, too, by the folder that somebody made before.
#[test]
fn two_sandboxes_of_one_space_notice_each_other() {
    let Some(sandbox) = bubblewrap(&[]) else { return };
    let space = Named::new("two-sandboxes");
    assert!(Child::start("taker", &space.url()).ask("connect").starts_with("connected"));
    let mut one = Child::start_under(&words(&sandbox), "taker", &space.url());
    one.take("a");
    let mut other = Child::start_under(&words(&sandbox), "taker", &space.url());
    other.send("write a 0");
    assert_refused(&mut other, &space);
    one.kill();
    other.take("a");
}

#[test]
fn sandboxes_share_a_table_in_a_folder_that_all_see() {
    let space = Space::new();
    // Not under /dev/shm, which is their own, but in a folder that is passed in.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let url = space.url_of(&folder.path().join("agents.table"));
    let Some(sandbox) = bubblewrap(&["--bind", path, path]) else { return };
    let locks = LockManager::connect(&url).blocking().unwrap();
    let mut one = Child::start_under(&words(&sandbox), "taker", &url);
    let mut other = Child::start_under(&words(&sandbox), "taker", &url);
    one.take("a");
    other.send("write a 200");
    other.error(ErrorKind::TimedOut);
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    other.send("write a 90000");
    until("a waiter", || locks.status("a").blocking().unwrap().unwrap().waiters.len() == 1);
    one.kill();
    other.token();
    other.kill();
    drop(locks.write("a").timeout(LONG).blocking().unwrap());
}

/// The table of a space is removed by hand, or by a cleaner, and made again: no reason to refuse.
#[test]
fn a_deleted_table_of_a_space_is_followed_by_a_new_one() {
    let space = Named::new("deleted");
    let mut first = Child::start("taker", &space.url());
    first.take("a");
    fs::remove_file(space.path()).unwrap();
    let mut second = Child::start("taker", &space.url());
    second.take("a");
    first.send("release a");
    first.error(ErrorKind::Lost);
    let mut third = Child::start("taker", &space.url());
    third.send("write a 0");
    third.error(ErrorKind::TimedOut);
}

#[test]
fn other_spaces_are_not_concerned() {
    for sandbox in sandboxes() {
        let (space, other) = (Named::new("one"), Named::new("another"));
        let mut outside = Child::start("taker", &space.url());
        outside.take("a");
        let mut inside = Child::start_under(&words(&sandbox), "taker", &other.url());
        inside.take("a");
    }
}

#[test]
fn the_doctor_says_where_the_table_lies() {
    let space = Named::new("doctor");
    let locks = LockManager::connect(&space.url()).blocking().unwrap();
    let health = locks.health().blocking().unwrap();
    assert_eq!(health.problems, Vec::<String>::new());
    let place = health.place.unwrap();
    assert_eq!(place.inode, crate::space::inode(&space.path()));
    assert!(place.mount_namespace.is_some() && !place.announced_in.is_empty(), "{place:?}");
    let by_path = Space::new().connect().health().blocking().unwrap().place.unwrap();
    assert_eq!(by_path.announced_in, Vec::<String>::new());
}
