//! First come, first served; readers in batches; nobody starves.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Poll,
    thread,
};

use concurrent_locks::{Error, Guard, Mode};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    threads_are_served_in_the_order_they_came [Fair, Inspect],
    futures_are_served_in_the_order_they_came [Fair, Inspect],
    readers_enter_together_between_writers [Fair, Inspect],
    a_newcomer_waits_behind_those_who_wait [Fair, Inspect],
    a_release_hands_over_and_nobody_barges [Fair],
    status_shows_the_queue_in_order [Fair, Inspect],
    looping_readers_do_not_overtake_a_writer [Fair, Inspect],
    looping_writers_do_not_overtake_a_reader [Fair, Inspect],
    everybody_gets_a_turn_in_every_round [Fair, Inspect],
}

fn threads_are_served_in_the_order_they_came(bench: &Bench) {
    let served = Mutex::new(Vec::new());
    let guard = bench.locks().write("a").blocking().unwrap();
    thread::scope(|scope| {
        for place in 0..8 {
            let served = &served;
            scope.spawn(move || {
                let _guard = bench.locks().write("a").blocking().unwrap();
                served.lock().unwrap().push(place);
            });
            bench.until_waiting("a", place + 1);
        }
        drop(guard);
    });
    assert_eq!(served.into_inner().unwrap(), Vec::from_iter(0..8));
    bench.assert_free("a");
}

fn futures_are_served_in_the_order_they_came(bench: &Bench) {
    let mut guard = bench.locks().write("a").blocking().unwrap();
    let mut queue: Vec<_> = (0..8).map(|_| Polled::queued(bench.locks().write("a"))).collect();
    while !queue.is_empty() {
        guard = handed_over(bench, guard, &mut queue.remove(0));
        queue.iter_mut().for_each(Polled::pending);
    }
    drop(guard);
    bench.assert_free("a");
}

/// The grant that the next in line gets by this release, and alone: what was granted too early would wait to be
/// noticed, and pass for a grant by a later one.
fn handed_over<F>(bench: &Bench, guard: Guard, next: &mut Polled<F>) -> Guard
where
    F: Future<Output = Result<Guard, Error>>,
{
    assert_eq!(bench.status("a").holders.len(), 1, "before the release");
    let token = guard.token();
    drop(guard);
    let guard = next.granted();
    assert_eq!(bench.status("a").holders.len(), 1, "after the release");
    assert!(guard.token() > token);
    guard
}

fn readers_enter_together_between_writers(bench: &Bench) {
    use Mode::{Read, Write};
    let guard = bench.locks().write("a").blocking().unwrap();
    let modes = [Read, Read, Write, Read, Read, Read, Write, Write, Read];
    let mut queue: Vec<_> = modes.iter().map(|mode| Polled::queued(bench.locks().request("a", *mode))).collect();
    drop(guard);
    let mut last_token = 0;
    for batch in [2, 1, 3, 1, 1, 1] {
        let mut entered: Vec<_> = queue.drain(..batch).collect();
        let guards: Vec<Guard> = entered.iter_mut().map(Polled::granted).collect();
        assert_eq!(bench.status("a").holders.len(), batch, "nobody else");
        queue.iter_mut().for_each(Polled::pending);
        for guard in &guards {
            assert!(guard.token() > last_token, "tokens follow the order of grants");
            last_token = guard.token();
        }
    }
    bench.assert_free("a");
}

fn a_newcomer_waits_behind_those_who_wait(bench: &Bench) {
    let reader = bench.locks().read("a").blocking().unwrap();
    let mut writer = Polled::queued(bench.locks().write("a"));
    // Compatible with the holder, not with the one who waits.
    bench.assert_busy("a", Mode::Read);
    let mut late = Polled::queued(bench.locks().read("a"));
    let guard = handed_over(bench, reader, &mut writer);
    late.pending();
    drop(guard);
    drop(late.granted());
    bench.assert_free("a");
}

fn a_release_hands_over_and_nobody_barges(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut waiter = Polled::queued(bench.locks().write("a"));
    drop(guard);
    // The waiter has not run yet, and the lock is its already.
    bench.assert_busy("a", Mode::Write);
    bench.assert_busy("a", Mode::Read);
    drop(waiter.granted());
    bench.assert_free("a");
}

fn status_shows_the_queue_in_order(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let owners: Vec<_> = (0..6).map(|place| bench.owner(&format!("w{place}"))).collect();
    let modes = [Mode::Write, Mode::Read, Mode::Read, Mode::Write, Mode::Read, Mode::Write];
    let requests = owners.iter().zip(modes).map(|(owner, mode)| bench.locks().request("a", mode).owner(owner));
    let mut queue: Vec<_> = requests.map(Polled::queued).collect();
    let seen = || bench.status("a").waiters.into_iter().map(|waiter| waiter.label).collect::<Vec<_>>();
    assert_eq!(seen(), ["w0", "w1", "w2", "w3", "w4", "w5"]);
    drop(queue.remove(2));
    assert_eq!(seen(), ["w0", "w1", "w3", "w4", "w5"]);
}

fn looping_readers_do_not_overtake_a_writer(bench: &Bench) {
    overtaking(bench, Mode::Read, Mode::Write);
}

fn looping_writers_do_not_overtake_a_reader(bench: &Bench) {
    overtaking(bench, Mode::Write, Mode::Read);
}

/// Four threads hold the lock in `looping` mode over and over while one waits for it in the other:
/// no loop that begins after the one is seen waiting gets in before it.
fn overtaking(bench: &Bench, looping: Mode, mode: Mode) {
    for _ in 0..5 {
        let (waits, served) = (AtomicBool::new(false), AtomicBool::new(false));
        let (overtaken, running) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !served.load(Ordering::SeqCst) {
                        let late = waits.load(Ordering::SeqCst);
                        let _guard = bench.locks().request("a", looping).blocking().unwrap();
                        running.fetch_add(1, Ordering::SeqCst);
                        if late && !served.load(Ordering::SeqCst) {
                            overtaken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
            until("the loops run", || running.load(Ordering::SeqCst) > 20);
            let mut request = Polled::new(bench.locks().request("a", mode));
            let first = request.poll();
            waits.store(true, Ordering::SeqCst);
            let guard = match first {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => request.granted(),
            };
            served.store(true, Ordering::SeqCst);
            drop(guard);
        });
        assert_eq!(overtaken.into_inner(), 0, "{looping} requests overtook a waiting {mode}");
    }
    bench.assert_free("a");
}

fn everybody_gets_a_turn_in_every_round(bench: &Bench) {
    // While four keep asking, nobody is served twice before everybody who waited is served once.
    let mut held = bench.locks().write("a").blocking().unwrap();
    let mut queue: Vec<_> = (0..4).map(|_| Polled::queued(bench.locks().write("a"))).collect();
    for _ in 0..100 {
        held = handed_over(bench, held, &mut queue.remove(0));
        queue.push(Polled::queued(bench.locks().write("a")));
    }
    drop(held);
    queue.into_iter().for_each(|mut waiter| drop(waiter.granted()));
    bench.assert_free("a");
}
