//! What waiting costs: who waits for long sleeps, and a grant or a normal end wakes one process.
//!
//! Counted, not timed: the kernel counts how often the threads of a process slept, and who sleeps long is
//! counted seldom, on a slow machine too.

use std::{
    fs,
    time::{Duration, Instant},
};

use concurrent_locks::LockManager;

use crate::{
    child::Child,
    patience::{until, until_waiting},
    space::Space,
};

/// How often the threads of a process have gone to sleep, ever.
fn sleeps(child: &Child) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.pid())).unwrap();
    let count = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    tasks.map(|task| count(fs::read_to_string(task.unwrap().path().join("status")).unwrap())).sum()
}

/// Children that wait in line for "a", each in a thread or in a future, and have done so for some seconds.
fn line_up(space: &Space, locks: &LockManager, role: &str, count: usize) -> Vec<Child> {
    let mut waiters: Vec<Child> = (0..count).map(|_| Child::start(role, &space.url())).collect();
    for (index, waiter) in waiters.iter_mut().enumerate() {
        waiter.send("write a 90000");
        until_waiting(locks, "a", index + 1);
    }
    waited_for(locks, Duration::from_millis(2_500));
    waiters
}

/// Until the last in line has waited for so long.
fn waited_for(locks: &LockManager, time: Duration) {
    until("a long wait", || {
        locks.status("a").blocking().unwrap().unwrap().waiters.last().is_none_or(|waiter| waiter.waited >= time)
    });
}

#[test]
fn an_idle_waiter_looks_once_a_second() {
    for role in ["taker", "future-waiter"] {
        let space = Space::new();
        let locks = space.connect();
        let _held = locks.write("a").blocking().unwrap();
        let waiters = line_up(&space, &locks, role, 4);
        let before: Vec<u64> = waiters.iter().map(sleeps).collect();
        let started = Instant::now();
        waited_for(&locks, Duration::from_secs(6));
        for (waiter, before) in waiters.iter().zip(before) {
            let slept = sleeps(waiter) - before;
            // A future's thread and its hub sleep each; a look may have to wait for another one's.
            let most = 3 * (started.elapsed().as_secs() + 2);
            assert!(slept <= most, "{role}: {slept} sleeps, {most} at most");
        }
    }
}

#[test]
fn a_grant_and_a_normal_end_wake_only_the_next_waiter() {
    for role in ["taker", "future-waiter"] {
        let space = Space::new();
        let locks = space.connect();
        let guard = locks.write("a").blocking().unwrap();
        let mut waiters = line_up(&space, &locks, role, 6);
        let last = waiters.split_off(4);
        let before: Vec<u64> = last.iter().map(sleeps).collect();
        let started = Instant::now();
        drop(guard);
        for mut waiter in waiters {
            waiter.token();
            assert_eq!(waiter.ask("release a"), "released");
            assert!(waiter.end().success());
        }
        for (waiter, before) in last.iter().skip(1).zip(before.iter().skip(1)) {
            let slept = sleeps(waiter) - before;
            // Its own looks; eight grants and ends of others are more.
            let most = 2 * (started.elapsed().as_secs() + 1);
            assert!(slept <= most, "{role}: {slept} sleeps, {most} at most");
        }
    }
}
