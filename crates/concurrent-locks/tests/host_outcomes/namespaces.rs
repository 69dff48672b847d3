//! Containers that share a table: the same pid means different processes in different namespaces.

use concurrent_locks::ErrorKind;

use crate::{
    child::Child,
    patience::until_waiting,
    sandbox::{own_processes, words},
    space::Space,
};

#[test]
fn two_containers_of_one_process_1_each_share_a_table() {
    let Some(wrapper) = own_processes() else { return };
    let space = Space::new();
    let locks = space.connect();
    let container = || Child::start_under(&words(&wrapper), "taker", &space.url());
    let (mut one, mut other) = (container(), container());
    assert_eq!((one.pid(), other.pid()), (1, 1));
    let token = one.take("a");
    other.send("write a 200");
    assert!(other.error(ErrorKind::TimedOut).contains("pid 1"), "the holder as it calls itself");
    // Each is seen to live, and neither is taken for the other or for our process 1.
    let health = locks.health().blocking().unwrap();
    assert_eq!(health.attached.iter().filter(|process| process.pid == 1 && process.alive).count(), 2);
    assert_eq!(health.reaped, 0);
    other.send("write a 90000");
    until_waiting(&locks, "a", 1);
    one.kill();
    assert!(other.token() > token, "the dead container's lock is handed on");
    // The living one keeps it.
    assert_eq!(locks.write("a").try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    other.kill();
    drop(locks.write("a").timeout(crate::patience::LONG).blocking().unwrap());
    assert_eq!(locks.health().blocking().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_container_and_its_host_hand_over_to_each_other() {
    let Some(wrapper) = own_processes() else { return };
    let space = Space::new();
    let locks = space.connect();
    let mut container = Child::start_under(&words(&wrapper), "taker", &space.url());
    let mut last = 0;
    for _ in 0..50 {
        let guard = locks.write("a").blocking().unwrap();
        container.send("write a 90000");
        until_waiting(&locks, "a", 1);
        drop(guard);
        let token = container.token();
        assert!(token > last);
        last = token;
        assert_eq!(container.ask("release a"), "released");
    }
}
