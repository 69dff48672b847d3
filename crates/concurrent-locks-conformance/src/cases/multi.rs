//! Several resources in one request, all or nothing.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::Duration,
};

use concurrent_locks::{Error, ErrorKind, Guard, Mode};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

const SHORT: Duration = Duration::from_millis(30);

cases! {
    all_are_held_together,
    guards_come_in_the_order_of_names,
    a_name_given_twice_is_taken_once_and_stronger,
    nothing_is_held_after_a_timeout,
    nothing_is_held_after_a_busy_try,
    nothing_is_held_after_a_bad_name,
    modes_may_differ,
    none_at_all_is_granted,
    orders_that_cross_do_not_deadlock,
    transfers_conserve_the_sum,
    an_owner_re_enters_what_it_holds_already,
    the_place_in_line_is_kept_for_each [Fair],
    nothing_is_entered_without_a_part_that_was_lost [Inspect, Revoke],
}

fn write<'a>(names: &'a [&'a str]) -> impl Iterator<Item = (&'a str, Mode)> {
    names.iter().map(|name| (*name, Mode::Write))
}

fn all_are_held_together(bench: &Bench) {
    let names = ["c", "a", "b"];
    for way in 0..3 {
        let request = bench.locks().lock_all(write(&names));
        let guards = match way {
            0 => request.blocking().unwrap(),
            1 => request.try_now().unwrap(),
            _ => Polled::new(request).granted(),
        };
        names.iter().for_each(|name| bench.assert_busy(name, Mode::Read));
        if way == 0 {
            drop(guards)
        } else {
            guards.release().unwrap()
        }
        names.iter().for_each(|name| bench.assert_free(name));
    }
}

fn guards_come_in_the_order_of_names(bench: &Bench) {
    let guards = bench.locks().lock_all(write(&["c", "a", "b"])).blocking().unwrap();
    let names: Vec<_> = guards.iter().map(|guard| guard.name().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(guards.get("b").unwrap().name().unwrap(), "b");
    assert!(guards.get("d").is_none());
}

fn a_name_given_twice_is_taken_once_and_stronger(bench: &Bench) {
    use Mode::{Read, Write};
    for order in [[Read, Write, Read], [Write, Read, Read], [Read, Read, Write]] {
        let guards = bench.locks().lock_all(order.map(|mode| ("a", mode))).blocking().unwrap();
        assert_eq!((guards.len(), guards[0].mode()), (1, Write));
        drop(guards);
        bench.assert_free("a");
    }
    let guards = bench.locks().lock_all([("a", Read), ("a", Read)]).blocking().unwrap();
    assert_eq!((guards.len(), guards[0].mode()), (1, Read));
}

fn nothing_is_held_after_a_timeout(bench: &Bench) {
    let guard = bench.locks().write("b").blocking().unwrap();
    let names = ["a", "b", "c"];
    let error = bench.locks().lock_all(write(&names)).timeout(SHORT).blocking().unwrap_err();
    assert_eq!((error.kind(), error.resource()), (ErrorKind::TimedOut, Some("b")), "{error}");
    bench.assert_free("a");
    bench.assert_free("c");
    let error = Polled::new(bench.locks().lock_all(write(&names)).timeout(SHORT)).ready().unwrap_err();
    assert_eq!((error.kind(), error.resource()), (ErrorKind::TimedOut, Some("b")), "{error}");
    bench.assert_free("a");
    bench.assert_free("c");
    drop(guard);
    bench.assert_free("b");
}

fn nothing_is_held_after_a_busy_try(bench: &Bench) {
    let guard = bench.locks().write("c").blocking().unwrap();
    let error = bench.locks().lock_all(write(&["a", "b", "c"])).try_now().unwrap_err();
    assert_eq!((error.kind(), error.resource()), (ErrorKind::WouldBlock, Some("c")), "{error}");
    bench.assert_free("a");
    bench.assert_free("b");
    drop(guard);
    bench.assert_free("c");
}

fn nothing_is_held_after_a_bad_name(bench: &Bench) {
    let too_long = "x".repeat(256);
    let names = ["a", "b", &too_long];
    assert_eq!(bench.locks().lock_all(write(&names)).blocking().unwrap_err().kind(), ErrorKind::InvalidName);
    assert_eq!(bench.locks().lock_all(write(&names)).try_now().unwrap_err().kind(), ErrorKind::InvalidName);
    let polled = Polled::new(bench.locks().lock_all(write(&names))).ready();
    assert_eq!(polled.unwrap_err().kind(), ErrorKind::InvalidName);
    bench.assert_free("a");
    bench.assert_free("b");
}

fn modes_may_differ(bench: &Bench) {
    let _guards = bench.locks().lock_all([("a", Mode::Read), ("b", Mode::Write)]).blocking().unwrap();
    drop(bench.locks().read("a").try_now().unwrap());
    bench.assert_busy("a", Mode::Write);
    bench.assert_busy("b", Mode::Read);
}

fn none_at_all_is_granted(bench: &Bench) {
    assert!(bench.locks().lock_all([]).blocking().unwrap().is_empty());
    assert!(bench.locks().lock_all([]).try_now().unwrap().is_empty());
    assert!(Polled::new(bench.locks().lock_all([])).granted().is_empty());
}

fn orders_that_cross_do_not_deadlock(bench: &Bench) {
    thread::scope(|scope| {
        for names in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"], ["c", "a", "b"]] {
            scope.spawn(move || {
                let owner = bench.owner("crossing");
                for round in 0..100 {
                    let request = owner.lock_all(write(&names));
                    let guards =
                        if round % 2 == 0 { request.blocking() } else { pollster::block_on(request.into_future()) };
                    guards.unwrap().release().unwrap();
                }
            });
        }
    });
    ["a", "b", "c"].iter().for_each(|name| bench.assert_free(name));
}

fn transfers_conserve_the_sum(bench: &Bench) {
    let accounts: [AtomicI64; 5] = std::array::from_fn(|_| AtomicI64::new(100));
    thread::scope(|scope| {
        for worker in 0..4 {
            let accounts = &accounts;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(worker);
                for amount in 0..150 {
                    let (from, to) = (random.usize(..5), random.usize(..5));
                    let names = [format!("accounts/{from}"), format!("accounts/{to}")];
                    let wanted = names.iter().map(|name| (name.as_str(), Mode::Write));
                    let _guards = bench.locks().lock_all(wanted).blocking().unwrap();
                    // Loads and stores apart: only the locks make these one step.
                    accounts[from].store(accounts[from].load(Ordering::Relaxed) - amount, Ordering::Relaxed);
                    thread::yield_now();
                    accounts[to].store(accounts[to].load(Ordering::Relaxed) + amount, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(accounts.iter().map(|account| account.load(Ordering::Relaxed)).sum::<i64>(), 500);
}

fn an_owner_re_enters_what_it_holds_already(bench: &Bench) {
    let owner = bench.owner("agent");
    let outer = owner.write("b").blocking().unwrap();
    let guards = owner.lock_all(write(&["a", "b"])).blocking().unwrap();
    assert_eq!(guards.get("b").unwrap().token(), outer.token());
    drop(guards);
    bench.assert_free("a");
    bench.assert_busy("b", Mode::Read);
    drop(outer);
    bench.assert_free("b");
}

fn the_place_in_line_is_kept_for_each(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut first = Polled::queued(bench.locks().lock_all(write(&["a", "b"])));
    let mut second = Polled::queued(bench.locks().lock_all(write(&["b", "a"])));
    drop(guard);
    let guards = first.granted();
    second.pending();
    drop(guards);
    drop(second.granted());
    bench.assert_free("a");
    bench.assert_free("b");
}

/// A part that is lost while a later one is waited for: by an operator's hand here; with a lease, by its end too.
fn nothing_is_entered_without_a_part_that_was_lost(bench: &Bench) {
    let owner = bench.owner("all");
    let request = || owner.lock_all(write(&["a", "b"])).timeout(None);
    let lose_a_and_free_b = |busy: Guard, mut wait: Box<dyn FnMut() + '_>| {
        until("it waits for b", || {
            wait();
            bench.waiters("b") == 1
        });
        bench.locks().break_lock("a", bench.status("a").holders[0].token).blocking().unwrap();
        let stranger = bench.locks().write("a").blocking().unwrap();
        drop(busy);
        stranger
    };
    let check = |error: Error, stranger: Guard| {
        assert_eq!((error.kind(), error.resource()), (ErrorKind::Lost, Some("a")), "{error}");
        assert!(error.to_string().contains("\"a\""), "{error}");
        drop(stranger);
        ["a", "b"].iter().for_each(|name| bench.assert_free(name));
    };
    thread::scope(|scope| {
        let busy = bench.locks().write("b").blocking().unwrap();
        let blocked = scope.spawn(|| request().blocking());
        let stranger = lose_a_and_free_b(busy, Box::new(|| {}));
        check(blocked.join().unwrap().unwrap_err(), stranger);
    });
    let busy = bench.locks().write("b").blocking().unwrap();
    let mut polled = Polled::queued(request());
    let stranger = lose_a_and_free_b(busy, Box::new(|| polled.pending()));
    check(polled.ready().unwrap_err(), stranger);
}
