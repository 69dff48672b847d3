//! Requests that are begun now and waited for later, by somebody who may lose interest.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use concurrent_locks::{Begun, ErrorKind, Mode, Queued};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    a_free_lock_is_granted_by_begin,
    a_busy_lock_queues_by_begin [Fair],
    a_queued_request_is_a_future,
    a_dropped_queued_request_leaves,
    a_blocked_thread_goes_on_until_granted,
    a_blocked_thread_that_loses_interest_leaves,
    a_blocked_thread_is_asked_again_and_again,
    a_begun_request_keeps_its_time_out,
    lock_all_loses_interest_and_gives_all_back,
    lock_all_goes_on_until_granted,
    an_owner_of_a_begun_request_re_enters,
    a_begun_upgrade_waits_for_the_reader [Upgrade],
    a_blocked_upgrade_that_loses_interest_stays_a_reader [Upgrade],
}

#[track_caller]
fn queued(begun: Result<Begun, concurrent_locks::Error>) -> Queued {
    match begun.unwrap() {
        Begun::Queued(queued) => queued,
        Begun::Granted(_) => panic!("granted although it is held"),
    }
}

fn a_free_lock_is_granted_by_begin(bench: &Bench) {
    for mode in Mode::ALL {
        let Begun::Granted(guard) = bench.locks().request("a", mode).begin().unwrap() else { panic!("it is free") };
        assert_eq!(guard.mode(), mode);
        bench.assert_busy("a", Mode::Write);
        drop(guard);
        bench.assert_free("a");
    }
}

fn a_busy_lock_queues_by_begin(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let first = queued(bench.locks().write("a").begin());
    // The place in the queue is taken by `begin`, not by the first poll.
    let mut second = Polled::queued(bench.locks().write("a"));
    drop(guard);
    second.pending();
    let first = first.blocking_while(|| true).unwrap().expect("it goes on");
    second.pending();
    drop(first);
    drop(second.granted());
    bench.assert_free("a");
}

fn a_queued_request_is_a_future(bench: &Bench) {
    let guard = bench.locks().read("a").blocking().unwrap();
    let mut waiter = Polled::new(queued(bench.locks().write("a").begin()));
    waiter.pending();
    drop(guard);
    drop(waiter.granted());
    bench.assert_free("a");
}

fn a_dropped_queued_request_leaves(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    drop(queued(bench.locks().write("a").begin()));
    let granted = queued(bench.locks().write("a").begin());
    drop(guard);
    // Granted in the meantime, perhaps; dropped all the same.
    drop(granted);
    bench.assert_free("a");
}

fn a_blocked_thread_goes_on_until_granted(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let waiter = queued(bench.locks().write("a").begin());
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            waiter.blocking_while(|| {
                asked.fetch_add(1, SeqCst);
                true
            })
        });
        until("the thread asks whether to go on", || asked.load(SeqCst) > 0);
        drop(guard);
        drop(thread.join().unwrap().unwrap().expect("it goes on"));
    });
    bench.assert_free("a");
}

fn a_blocked_thread_that_loses_interest_leaves(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    for mode in Mode::ALL {
        let waiter = queued(bench.locks().request("a", mode).timeout(None).begin());
        assert!(waiter.blocking_while(|| false).unwrap().is_none());
    }
    let mut next = Polled::queued(bench.locks().write("a"));
    drop(guard);
    // Nobody who left is in the way.
    drop(next.granted());
    bench.assert_free("a");
}

fn a_blocked_thread_is_asked_again_and_again(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let waiter = queued(bench.locks().write("a").timeout(None).begin());
    let (asked, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            waiter.blocking_while(|| {
                asked.fetch_add(1, SeqCst);
                !enough.load(SeqCst)
            })
        });
        until("the thread is asked for the third time", || asked.load(SeqCst) > 2);
        enough.store(true, SeqCst);
        assert!(thread.join().unwrap().unwrap().is_none());
    });
    drop(guard);
    bench.assert_free("a");
}

fn a_begun_request_keeps_its_time_out(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let waiter = queued(bench.locks().read("a").timeout(Duration::from_millis(20)).begin());
    assert_eq!(waiter.blocking_while(|| true).unwrap_err().kind(), ErrorKind::TimedOut);
    drop(guard);
    bench.assert_free("a");
}

fn lock_all_loses_interest_and_gives_all_back(bench: &Bench) {
    let guard = bench.locks().write("b").blocking().unwrap();
    let all = bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Write), ("c", Mode::Write)]);
    assert!(all.timeout(None).blocking_while(|| false).unwrap().is_none());
    bench.assert_free("a");
    drop(guard);
    bench.assert_free("b");
    bench.assert_free("c");
}

fn lock_all_goes_on_until_granted(bench: &Bench) {
    let guard = bench.locks().write("b").blocking().unwrap();
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            bench.locks().lock_all([("a", Mode::Write), ("b", Mode::Write)]).blocking_while(|| {
                asked.fetch_add(1, SeqCst);
                true
            })
        });
        until("the thread waits for b", || asked.load(SeqCst) > 0);
        drop(guard);
        assert_eq!(thread.join().unwrap().unwrap().expect("it goes on").len(), 2);
    });
    bench.assert_free("a");
    bench.assert_free("b");
}

fn an_owner_of_a_begun_request_re_enters(bench: &Bench) {
    let owner = bench.owner("agent");
    let guard = bench.locks().write("a").blocking().unwrap();
    let waiter = queued(owner.write("a").begin());
    drop(guard);
    let outer = waiter.blocking_while(|| true).unwrap().expect("it goes on");
    let Begun::Granted(inner) = owner.read("a").begin().unwrap() else { panic!("the same owner holds it") };
    assert_eq!(inner.token(), outer.token());
    drop((inner, outer));
    bench.assert_free("a");
}

fn a_begun_upgrade_waits_for_the_reader(bench: &Bench) {
    let other = bench.locks().read("a").blocking().unwrap();
    let mut guard = bench.locks().read("a").blocking().unwrap();
    let mut upgrade = guard.upgrade().begin().unwrap().expect("somebody else reads");
    let mut context = Context::from_waker(Waker::noop());
    assert!(upgrade.poll(&mut guard, &mut context).is_pending());
    drop(other);
    let mut upgraded = || match upgrade.poll(&mut guard, &mut context) {
        Poll::Pending => false,
        Poll::Ready(result) => result.is_ok(),
    };
    until("the upgrade is granted", &mut upgraded);
    assert_eq!(guard.mode(), Mode::Write);
    assert!(guard.upgrade().begin().unwrap().is_none());
    drop(guard);
    bench.assert_free("a");
}

fn a_blocked_upgrade_that_loses_interest_stays_a_reader(bench: &Bench) {
    let other = bench.locks().read("a").blocking().unwrap();
    let mut guard = bench.locks().read("a").blocking().unwrap();
    let upgrade = guard.upgrade().timeout(None).begin().unwrap().expect("somebody else reads");
    assert!(!upgrade.blocking_while(&mut guard, || false).unwrap());
    assert_eq!(guard.mode(), Mode::Read);
    // It left the queue: another reader comes in.
    drop(bench.locks().read("a").try_now().unwrap());
    drop((guard, other));
    bench.assert_free("a");
}
