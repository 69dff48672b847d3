//! A pool is used up, or the memory for the table is: `Full`, nothing broken, and capacity that
//! comes back.

use std::{
    fs::{self, File},
    io::{ErrorKind as IoErrorKind, Write},
    thread,
};

use concurrent_locks::{ErrorKind, Guard, LockManager};

use crate::{
    child::{Child, Talk},
    patience::{LONG, until_waiting},
    sandbox::{own_shared_memory, words},
    space::Space,
};

#[track_caller]
fn assert_sound(locks: &LockManager) {
    assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
}

#[test]
fn all_resources_in_use_is_full() {
    let space = Space::with_capacity("resources=4&requests=64&processes=4");
    let locks = space.connect();
    let mut held: Vec<Guard> = (0..4).map(|index| locks.write(&format!("n{index}")).try_now().unwrap()).collect();
    for _ in 0..2 {
        let error = locks.write("one more").timeout(LONG).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        let text = error.to_string();
        assert!(text.contains(space.path().to_str().unwrap()) && text.contains("all 4 are in use"), "{text}");
        assert!(error.is_retryable());
    }
    // Those that are known go on as before.
    assert_eq!(locks.write("n1").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_sound(&locks);
    held.pop().unwrap().release().unwrap();
    let last = locks.write("one more").try_now().unwrap();
    assert_eq!(locks.write("n3").try_now().unwrap_err().kind(), ErrorKind::Full);
    drop((last, held));
    for index in 0..40 {
        let _each = locks.write(&format!("later {index}")).try_now().unwrap();
    }
    assert_sound(&locks);
}

#[test]
fn resources_of_a_dead_process_come_back() {
    let space = Space::with_capacity("resources=4&requests=64&processes=4");
    let locks = space.connect();
    let mut holder = space.child();
    for index in 0..4 {
        holder.take(&format!("n{index}"));
    }
    assert_eq!(locks.write("one more").try_now().unwrap_err().kind(), ErrorKind::Full);
    holder.kill();
    let _now = locks.write("one more").try_now().unwrap();
    assert_sound(&locks);
}

#[test]
fn all_requests_in_use_is_full() {
    let space = Space::with_capacity("resources=64&requests=32&processes=4");
    let locks = space.connect();
    let mut other = space.child();
    let mut held: Vec<Guard> = (0..32).map(|index| locks.read(&format!("n{}", index % 8)).try_now().unwrap()).collect();
    let error = locks.read("n0").try_now().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let text = error.to_string();
    assert!(text.contains(space.path().to_str().unwrap()) && text.contains("all 32 requests"), "{text}");
    other.send("read n0 90000");
    other.error(ErrorKind::Full);
    assert_sound(&locks);
    held.pop().unwrap().release().unwrap();
    held.push(locks.read("n0").try_now().unwrap());
    drop(held);
    let _all = (0..32).map(|_| locks.read("n0").try_now().unwrap()).collect::<Vec<_>>();
    assert_sound(&locks);
}

#[test]
fn requests_of_a_dead_process_come_back() {
    let space = Space::with_capacity("resources=64&requests=32&processes=4");
    let locks = space.connect();
    let mut other = space.child();
    for index in 0..32 {
        other.take(&format!("n{index}"));
    }
    assert_eq!(locks.read("a").try_now().unwrap_err().kind(), ErrorKind::Full);
    other.kill();
    let _now = locks.read("a").try_now().unwrap();
    assert_eq!(locks.health().blocking().unwrap().requests.used, 1);
    assert_sound(&locks);
}

/// What one process once used and has released, another may use while the first lives on.
#[test]
fn released_requests_serve_other_processes() {
    let space = Space::with_capacity("resources=64&requests=32&processes=4");
    let locks = space.connect();
    let mut other = space.child();
    for index in 0..32 {
        other.take(&format!("n{index}"));
    }
    for index in 0..32 {
        assert_eq!(other.ask(&format!("release n{index}")), "released");
    }
    assert_eq!(locks.health().blocking().unwrap().requests.used, 0);
    let _now = locks.read("a").try_now().unwrap();
}

#[test]
fn all_processes_attached_is_full() {
    let space = Space::with_capacity("resources=64&requests=64&processes=2");
    let (mut first, mut second, mut third) = (space.child(), space.child(), space.child());
    first.take("a");
    second.take("b");
    for _ in 0..2 {
        third.send("connect");
        let error = third.error(ErrorKind::Full);
        assert!(error.contains(space.path().to_str().unwrap()), "{error}");
        assert!(error.contains("all 2 process slots are taken by living processes"), "{error}");
    }
    assert_eq!(first.ask("release a"), "released");
    first.take("a");
    second.kill();
    assert_eq!(third.ask("connect"), "connected 2");
    third.take("b");
    third.send("write a 90000");
    let mut fourth = space.child();
    fourth.send("connect");
    fourth.error(ErrorKind::Full);
    first.kill();
    third.token();
    assert_eq!(fourth.ask("connect"), "connected 2");
}

#[test]
fn a_waiter_is_not_disturbed_by_a_full_table() {
    let space = Space::with_capacity("resources=2&requests=64&processes=2");
    let locks = space.connect();
    let guard = locks.write("a").try_now().unwrap();
    let waiter = thread::spawn({
        let locks = locks.clone();
        move || locks.write("a").timeout(LONG).blocking().map(drop)
    });
    until_waiting(&locks, "a", 1);
    let other = locks.write("b").try_now().unwrap();
    assert_eq!(locks.write("c").try_now().unwrap_err().kind(), ErrorKind::Full);
    drop(guard);
    waiter.join().unwrap().unwrap();
    drop(other);
    assert_sound(&locks);
}

#[test]
fn a_table_that_the_file_system_cannot_hold_is_full_at_once() {
    let Some(wrapper) = own_shared_memory("2m", "true") else { return };
    let url = "host:/dev/shm/t.table?resources=4096&requests=4096&processes=4";
    let mut child = Child::start_under(&words(&wrapper), "taker", url);
    child.send("connect");
    let error = child.error(ErrorKind::Full);
    assert!(error.contains("no room for a lock table in /dev/shm: it takes ") && error.contains(" MB"), "{error}");
    let left = fs::read_dir(format!("/proc/{}/root/dev/shm", child.pid())).unwrap().count();
    assert_eq!(left, 0, "no half-made table is left");
    assert!(child.end().success());
}

/// What is used later takes its memory later: then that is `Full`, and not a SIGBUS.
#[test]
fn a_file_system_that_fills_up_later_is_full() {
    let Some(wrapper) = own_shared_memory("16m", "true") else { return };
    let url = "host:/dev/shm/t.table?resources=8192&requests=8192&processes=4";
    let mut child = Child::start_under(&words(&wrapper), "taker", url);
    child.take("first");
    child.take("idle");
    assert_eq!(child.ask("release idle"), "released");
    let filler = format!("/proc/{}/root/dev/shm/filler", child.pid());
    fill_up(&mut File::create(&filler).unwrap());
    // A name that has its room needs no more.
    child.take("idle");
    assert_eq!(child.ask("release idle"), "released");
    let mut taken = 0;
    let error = loop {
        child.send(&format!("write n{taken} 0"));
        let answer = child.answer();
        if !answer.starts_with("granted") {
            break answer;
        }
        taken += 1;
        assert!(taken < 4096, "locks are granted without memory for them");
    };
    assert!(error.starts_with("error Full: host:/dev/shm/t.table"), "{error}");
    assert!(error.contains("make room"), "{error}");
    // Nor is room kept for a name that nobody holds: another one has taken its.
    child.send("write idle 0");
    assert!(child.answer().starts_with("error Full"));
    assert_eq!(child.ask("release first"), "released");
    child.take("first");
    assert_eq!(child.ask("release first"), "released");
    child.take("idle");
    fs::remove_file(&filler).unwrap();
    for more in 0..256 {
        child.take(&format!("m{more}"));
    }
    assert!(child.end().success());
}

/// Where one table fits, no more is needed by however many make it at the same time.
#[test]
fn many_that_start_at_once_need_the_room_of_one_table() {
    let Some(wrapper) = own_shared_memory("16m", "true") else { return };
    let mut starter = Child::start_under(&words(&wrapper), "many-starters", "host:/dev/shm/t.table");
    for answer in starter.answer().split(';') {
        assert!(answer.starts_with("granted"), "{answer}");
    }
}

pub(crate) fn start_many_at_once(talk: &mut Talk) {
    let mut starters: Vec<_> = (0..8).map(|_| Child::start("taker", &talk.url)).collect();
    starters.iter_mut().for_each(|starter| starter.send("read here 90000"));
    let answers: Vec<_> = starters.iter_mut().map(Child::answer).collect();
    talk.say(&answers.join(";"));
}

/// Far from where the search begins, too.
#[test]
fn the_one_idle_name_among_many_in_use_makes_room() {
    let space = Space::with_capacity("resources=512&requests=1024&processes=4");
    let locks = space.connect();
    let mut held: Vec<_> = (0..512).map(|index| locks.write(&format!("n{index}")).try_now().ok()).collect();
    assert!(held.iter().all(Option::is_some));
    for idle in [300, 7, 500] {
        assert_eq!(locks.write("new").try_now().unwrap_err().kind(), ErrorKind::Full);
        held[idle] = None;
        held[idle] = Some(locks.write(&format!("in the place of {idle}")).try_now().unwrap());
    }
    assert_eq!(locks.health().blocking().unwrap().evicted, 3);
}

fn fill_up(file: &mut File) {
    for size in [1 << 20, 4096] {
        let bytes = vec![1; size];
        loop {
            match file.write(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == IoErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
