//! What a process believes of its surroundings: a foreign `/proc`, no `/proc`, no `/sys`, another root,
//! rights given up, closed descriptors, limits, a faked clock. Its own trouble, and nobody else's.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use concurrent_locks::{ErrorKind, LockManager};

use crate::{
    child::{Child, Talk},
    patience::{LONG, until},
    sandbox::{in_own_mounts, skip, words},
    space::{Space, inode},
};

/// A container that sees its host's `/proc`: there a zombie has the number of a living holder.
#[test]
fn a_living_holder_is_not_taken_for_a_zombie_of_another_namespace() {
    if !nix::unistd::geteuid().is_root() {
        return skip("choosing a process's number takes root");
    }
    let space = Space::new();
    let mut zombie = Command::new("true").spawn().unwrap();
    let number = zombie.id();
    until("a zombie", || {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z')
    });
    let script = format!("echo {} > /proc/sys/kernel/ns_last_pid && \"$@\"; exit $?", number - 1);
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", &script, "sh"];
    let mut holder = Child::start_under(&wrapper, "robbed", &space.url());
    assert_eq!(holder.pid(), number, "the holder has the zombie's number");
    let said = holder.answer();
    assert!(said.starts_with("error TimedOut"), "the second writer waits: {said}");
    assert_eq!(holder.ask("release"), "released");
    zombie.wait().unwrap();
}

/// Holds a lock that was taken by a thread which has ended, and says what a second process gets.
pub(crate) fn be_robbed(talk: &mut Talk) {
    let url = talk.url.clone();
    let guard = thread::spawn(move || LockManager::connect(&url).blocking().unwrap().write("a").blocking().unwrap());
    let guard = guard.join().unwrap();
    let mut second = Child::start("taker", &talk.url);
    talk.say(&second.ask("write a 500"));
    talk.hear();
    match guard.release() {
        Ok(()) => talk.say("released"),
        Err(error) => talk.say_error(&error),
    }
}

/// What only one process cannot see any more is not deleted for the others.
#[test]
fn a_process_that_cannot_see_the_table_any_more_harms_nobody() {
    if !nix::unistd::geteuid().is_root() {
        return skip("chroot and setuid take root");
    }
    let empty = tempfile::tempdir().unwrap();
    for leave in [format!("chroot {}", empty.path().display()), "become 65534".to_owned()] {
        let space = Space::new();
        let locks = space.connect();
        let mut leaver = space.child();
        leaver.take("b");
        assert_eq!(leaver.ask(&leave), "gone");
        // It may be refused, with an explanatory error, or continue.
        leaver.send("write c 0");
        let answer = leaver.answer();
        let refused = answer.strip_prefix("error Closed: ");
        assert!(answer.starts_with("granted") || refused.is_some_and(|why| why.contains("cannot see")), "{answer}");
        assert_eq!(leaver.ask("release b"), "released");
        // The others do not notice.
        drop(locks.write("b").timeout(LONG).blocking().unwrap());
        let mut newcomer = space.child();
        newcomer.take("d");
        assert_eq!(locks.status("d").blocking().unwrap().unwrap().holders.len(), 1);
        assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
    }
}

/// A mount over the table's folder hides it from those who come later in that place, not from those inside.
#[test]
fn a_mount_over_the_folder_changes_nothing_for_those_inside() {
    let Some(wrapper) = in_own_mounts("true") else { return };
    let space = Space::new();
    let locks = space.connect();
    let mut child = Child::start_under(&words(&wrapper), "taker", &space.url());
    child.take("a");
    assert_eq!(child.ask(&format!("run mount -t tmpfs none {}", space.directory().display())), "ran");
    assert_eq!(child.ask("verify a"), "Held");
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    child.take("b");
    assert_eq!(child.ask("release a"), "released");
    drop(locks.write("a").timeout(LONG).blocking().unwrap());
}

#[test]
fn without_proc_a_healthy_table_is_left_alone() {
    let Some(wrapper) = in_own_mounts("mount -t tmpfs none /proc") else { return };
    let space = Space::new();
    let mut resident = space.child();
    resident.take("a");
    for somebody_is_inside in [true, false] {
        if !somebody_is_inside {
            resident.kill();
        }
        let before = inode(&space.path());
        let mut child = Child::start_under(&words(&wrapper), "taker", &space.url());
        child.send("connect");
        let error = child.answer();
        assert!(error.starts_with("error ") && error.contains("mount /proc"), "{error}");
        assert_eq!(inode(&space.path()), before, "it is still there");
        assert!(!error.contains("remove"), "{error}");
    }
    let mut next = space.child();
    next.take("a");
}

/// Without `/sys` nobody says by what the kernel counts; later it may count by something else.
#[test]
fn a_table_keeps_its_clock_whatever_the_kernel_says_later() {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let other = tempfile::NamedTempFile::new().unwrap();
    fs::write(other.path(), "hpet\n").unwrap();
    for change in ["mount -t tmpfs none /sys".to_owned(), format!("mount --bind {} {source}", other.path().display())] {
        let Some(wrapper) = in_own_mounts(&change) else { return };
        let space = Space::new();
        let mut resident = space.child();
        resident.take("a");
        let mut child = Child::start_under(&words(&wrapper), "taker", &space.url());
        child.take("b");
        child.send("write a 200");
        child.error(ErrorKind::TimedOut);
        assert_eq!(resident.ask("release a"), "released");
        child.take("a");
    }
}

/// A library that answers for the clock (libfaketime) must not make a wait endless.
#[test]
fn a_time_limit_is_kept_under_a_faked_clock() {
    let faked = ["faketime", "-f", "+1d"];
    let works = Command::new(faked[0]).args([faked[1], faked[2], "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        return skip("`faketime` is not installed");
    }
    let space = Space::new();
    let mut holder = space.child();
    holder.take("a");
    let mut child = Child::start_under(&faked, "taker", &space.url());
    child.send("write a 300");
    child.error(ErrorKind::TimedOut);
    assert_eq!(holder.ask("release a"), "released");
    child.take("a");
}

/// A daemon without a standard error: what it prints there must not land in the table.
#[test]
fn no_descriptor_of_ours_is_a_standard_one() {
    let space = Space::new();
    let folder = tempfile::tempdir().unwrap();
    for url in [space.url(), format!("file:{}", folder.path().display())] {
        let mut child = Child::start("without-stderr", &url);
        assert_eq!(child.answer(), "descriptor 2: none", "{url}");
    }
}

pub(crate) fn lock_without_stderr(talk: &mut Talk) {
    nix::unistd::close(2).unwrap();
    let guard = talk.connect().write("a").blocking().unwrap();
    let found = fs::read_link("/proc/self/fd/2").map_or("none".to_owned(), |path| path.display().to_string());
    talk.say(&format!("descriptor 2: {found}"));
    drop(guard);
}

/// A daemon that closes all descriptors: the files it opens next get the numbers of ours.
#[test]
fn a_process_that_closed_all_descriptors_takes_no_living_holder_for_dead() {
    let space = Space::new();
    let mut holder = space.child();
    holder.take("a");
    let mut daemon = Child::start("closes-all", &space.url());
    let said = daemon.answer();
    assert!(said.starts_with("error TimedOut"), "{said}");
    assert_eq!(holder.ask("verify a"), "Held");
    assert_eq!(daemon.ask("go on"), "nothing was written");
}

pub(crate) fn close_all_descriptors(talk: &mut Talk) {
    let locks = talk.connect();
    let log = tempfile::tempdir().unwrap();
    for number in 3..64 {
        // Most are not open.
        let _ = nix::unistd::close(number);
    }
    let files: Vec<_> = (0..16).map(|number| fs::File::create(log.path().join(number.to_string())).unwrap()).collect();
    let result = locks.write("a").timeout(std::time::Duration::from_millis(500)).blocking();
    talk.say_result(&result);
    talk.hear();
    let written = files.iter().any(|file| file.metadata().unwrap().len() > 0);
    talk.say(if written { "something was written" } else { "nothing was written" });
    // Their numbers may have been closed and taken meanwhile.
    std::mem::forget(files);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_that_names_it() {
    let space = Space::new();
    let mut child = Child::start_under(&["sh", "-c", "ulimit -f 100 && exec \"$@\"", "sh"], "taker", &space.url());
    child.send("connect");
    let error = child.error(ErrorKind::Full);
    assert!(error.contains("ulimit -f") && error.contains(space.path().to_str().unwrap()), "{error}");
    assert!(child.end().success());
}

#[test]
fn a_limit_on_addresses_is_an_error_that_names_it() {
    let space = Space::new();
    let url = format!("host:{}", space.path().display());
    let mut child = Child::start_under(&["sh", "-c", "ulimit -v 120000 && exec \"$@\"", "sh"], "taker", &url);
    child.send("connect");
    let error = child.answer();
    assert!(error.starts_with("error ") && error.contains("ulimit -v") && error.contains(" MB"), "{error}");
}

/// btrfs writes every change to a new place: full, it would end the table's users by SIGBUS.
#[test]
fn a_file_system_that_copies_on_write_is_refused() {
    let prepare =
        "truncate -s 120M /dev/shm/image && mkfs.btrfs -q /dev/shm/image && mount -o loop /dev/shm/image /mnt";
    let Some(wrapper) = in_own_mounts(&format!("mount -t tmpfs none /dev/shm && {prepare}")) else { return };
    let mut child = Child::start_under(&words(&wrapper), "taker", "host:/mnt/t.table");
    child.send("connect");
    let error = child.error(ErrorKind::Unsupported);
    assert!(error.contains("btrfs") && error.contains("file:DIR"), "{error}");
}
