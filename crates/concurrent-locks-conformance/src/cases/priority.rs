//! A priority of `p` counts like having arrived `p` seconds earlier.

use std::time::Duration;

use concurrent_locks::Mode;

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    the_urgent_goes_first [Priority, Fair, Inspect],
    the_unimportant_goes_last [Priority, Fair, Inspect],
    equals_keep_their_order [Priority, Fair, Inspect],
    a_priority_takes_nothing_from_a_holder [Priority],
    an_urgent_reader_passes_a_waiting_writer [Priority, Fair],
    a_second_of_waiting_is_worth_a_step [Priority, Fair, Inspect],
    owners_and_lock_all_have_priorities [Priority, Fair],
    status_shows_priorities_in_the_order_of_service [Priority, Fair, Inspect],
}

/// Queues writers of these priorities in this order and returns the places in which they are served.
fn served(bench: &Bench, priorities: &[i8]) -> Vec<usize> {
    let guard = bench.locks().write("a").blocking().unwrap();
    let requests = priorities.iter().map(|priority| bench.locks().write("a").priority(*priority));
    let mut queue: Vec<_> = requests.map(Polled::queued).enumerate().collect();
    let mut held = Some(guard);
    let mut order = Vec::new();
    while !queue.is_empty() {
        held.take();
        let woken = |(_, waiter): &(usize, Polled<_>)| waiter.wakes() > 0;
        until("one waiter is woken", || queue.iter().any(woken));
        let index = queue.iter().position(woken).expect("one was woken");
        let (place, mut waiter) = queue.remove(index);
        held = Some(waiter.granted());
        assert_eq!(bench.status("a").holders.len(), 1, "one release, one grant");
        queue.iter_mut().for_each(|(_, waiter)| waiter.pending());
        order.push(place);
    }
    order
}

fn the_urgent_goes_first(bench: &Bench) {
    assert_eq!(served(bench, &[0, 0, 100]), [2, 0, 1]);
    assert_eq!(served(bench, &[0, 60, 127, 60]), [2, 1, 3, 0]);
}

fn the_unimportant_goes_last(bench: &Bench) {
    assert_eq!(served(bench, &[-100, 0, -50, 0]), [1, 3, 2, 0]);
    assert_eq!(served(bench, &[i8::MIN, i8::MAX]), [1, 0]);
}

fn equals_keep_their_order(bench: &Bench) {
    assert_eq!(served(bench, &[100, 100, 100, 100]), [0, 1, 2, 3]);
    assert_eq!(served(bench, &[-100, 100, -100, 100]), [1, 3, 0, 2]);
}

fn a_priority_takes_nothing_from_a_holder(bench: &Bench) {
    let guard = bench.locks().write("a").priority(-100).blocking().unwrap();
    assert!(bench.locks().read("a").priority(127).try_now().is_err());
    Polled::queued(bench.locks().write("a").priority(127)).pending();
    guard.release().unwrap();
    bench.assert_free("a");
}

fn an_urgent_reader_passes_a_waiting_writer(bench: &Bench) {
    let _reader = bench.locks().read("a").blocking().unwrap();
    let mut writer = Polled::queued(bench.locks().write("a"));
    bench.assert_busy("a", Mode::Read);
    drop(bench.locks().read("a").priority(100).try_now().unwrap());
    writer.pending();
}

fn a_second_of_waiting_is_worth_a_step(bench: &Bench) {
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut patient = Polled::queued(bench.locks().write("a"));
    until("it has waited for a second", || bench.status("a").waiters[0].waited > Duration::from_millis(1001));
    let mut behind = Polled::queued(bench.locks().write("a").priority(1));
    let mut ahead = Polled::queued(bench.locks().write("a").priority(100));
    drop(guard);
    let guard = ahead.granted();
    patient.pending();
    drop(guard);
    let guard = patient.granted();
    behind.pending();
    drop(guard);
    drop(behind.granted());
    bench.assert_free("a");
}

fn owners_and_lock_all_have_priorities(bench: &Bench) {
    let owner = bench.owner("agent");
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut ordinary = Polled::queued(owner.write("a"));
    let mut urgent = Polled::queued(bench.locks().lock_all([("a", Mode::Write)]).priority(100));
    drop(guard);
    drop(urgent.granted());
    drop(ordinary.granted());
}

fn status_shows_priorities_in_the_order_of_service(bench: &Bench) {
    let _guard = bench.locks().write("a").priority(3).blocking().unwrap();
    let _queue = [0, 100, -100, 50].map(|priority| Polled::queued(bench.locks().write("a").priority(priority)));
    let status = bench.status("a");
    assert_eq!(status.holders[0].priority, 3);
    let shown: Vec<_> = status.waiters.iter().map(|waiter| waiter.priority).collect();
    assert_eq!(shown, [100, 50, 0, -100]);
}
