//! Several hosts in a URL: to which of them processes go, those that start and those that are connected.

use std::time::Duration;

use concurrent_locks::{LockManager, Standing};
use concurrent_locks_conformance::until;
use concurrent_locks_servers::{Redis, Reply};

use crate::stage::SPACE;

fn url(hosts: &[&Redis], query: &str) -> String {
    let hosts: Vec<_> = hosts.iter().map(|host| host.address().to_string()).collect();
    format!("redis://{}?space={SPACE}{query}", hosts.join(","))
}

/// How many requests a server keeps.
fn requests(server: &Redis) -> i64 {
    match server.command(&["HLEN", &format!("locks:{{{SPACE}}}:requests")]) {
        Ok(Reply::Number(count)) => count,
        other => panic!("{other:?}"),
    }
}

/// Acquires and releases a lock, as soon as there is a server that serves.
fn until_served(locks: &LockManager) {
    until("another host serves", || {
        locks.write("served").timeout(Duration::from_secs(1)).blocking().is_ok_and(|guard| guard.release().is_ok())
    });
}

fn refuse_writes(server: &Redis) {
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).unwrap();
}

#[test]
fn a_host_that_refuses_writes_is_passed_over_and_left() {
    let [first, second] = [(), ()].map(|()| Redis::start().unwrap());
    refuse_writes(&first);
    let locks = LockManager::connect(&url(&[&first, &second], "")).blocking().unwrap();
    let guard = locks.write("a").blocking().unwrap();
    assert_eq!((requests(&first), requests(&second)), (0, 1));
    guard.release().unwrap();
    // Now the other way around, for a process that is connected.
    first.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).unwrap();
    refuse_writes(&second);
    until_served(&locks);
    let guard = locks.write("a").blocking().unwrap();
    assert_eq!((requests(&first), requests(&second)), (1, 0));
    guard.release().unwrap();
}

#[test]
fn a_host_that_hangs_is_passed_over_and_left() {
    let [mut first, second] = [(), ()].map(|()| Redis::start().unwrap());
    let url = url(&[&first, &second], "");
    let connected = LockManager::connect(&url).blocking().unwrap();
    connected.write("a").blocking().unwrap().release().unwrap();
    first.stop_process();
    until_served(&connected);
    let started = LockManager::connect(&format!("{url}&lease=11s")).blocking().unwrap();
    let guard = started.write("a").blocking().unwrap();
    assert!(connected.write("a").try_now().is_err(), "both are at the second");
    guard.release().unwrap();
    first.resume_process();
}

/// The old one starts as it was configured: a master, until somebody tells it that it is none.
#[test]
fn an_old_master_that_starts_again_is_passed_over() {
    let mut first = Redis::options().append_only().start().unwrap();
    let mut second = Redis::options().append_only().replica_of(&first).start().unwrap();
    // Processes are distinguished by their leases: managers of one URL share a connection.
    let url = |lease| url(&[&first, &second], &format!("&lease={lease}m"));
    let [holders, with_data, without] = [10, 11, 12].map(url);
    let locks = LockManager::connect(&holders).blocking().unwrap();
    let guard = locks.write("a").blocking().unwrap();
    until("the replica knows", || requests(&second) == 1);
    first.kill();
    second.promote();
    until("the holder is at the new master", || guard.verify().blocking() == Standing::Renewed);
    for (url, has_data) in [(with_data, true), (without, false)] {
        first.restart().unwrap();
        if !has_data {
            first.command(&["FLUSHALL"]).unwrap();
        }
        assert_eq!(requests(&first), i64::from(has_data));
        let other = LockManager::connect(&url).blocking().unwrap();
        assert!(other.write("a").try_now().is_err(), "the lock is held at the new master");
        first.kill();
    }
    assert_eq!(guard.verify().blocking(), Standing::Renewed);
    guard.release().unwrap();
}
