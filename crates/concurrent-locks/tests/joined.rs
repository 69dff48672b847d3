//! A deadlock that spans two engines of one process: neither engine sees all of it alone.

use std::{
    thread,
    time::{Duration, Instant},
};

use concurrent_locks::{ErrorKind, LockManager};

#[test]
fn a_cycle_through_two_engines_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let host = LockManager::connect(&format!("host:{}/t.table", directory.path().display())).blocking().unwrap();
    let local = LockManager::connect("local:joined").blocking().unwrap();
    let (a, b) = (local.owner("a").unwrap(), host.owner("b").unwrap());
    let (a_on_host, b_on_local) = (a.with(&host), b.with(&local));
    let held_by_a = a.write("x").blocking().unwrap();
    let held_by_b = b.write("y").blocking().unwrap();
    thread::scope(|scope| {
        let a_waits = scope.spawn(|| {
            let result = a_on_host.write("y").timeout(None).blocking();
            drop(held_by_a);
            result.map(drop)
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while host.status("y").blocking().unwrap().unwrap().pending_requests == 0 {
            assert!(Instant::now() < deadline, "the first owner never waited");
            thread::yield_now();
        }
        let error = b_on_local.write("x").timeout(None).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock);
        let cycle = error.cycle().unwrap();
        let links: Vec<_> = cycle.links.iter().map(|link| (link.label.as_str(), link.waits_for.as_str())).collect();
        assert_eq!(links, [("b", "x"), ("a", "y")], "{error}");
        drop(held_by_b);
        a_waits.join().unwrap().unwrap();
    });
}
