//! Events are reported, in order, to all listeners.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, SystemTime},
};

use concurrent_locks::{Begun, Event, EventKind, Mode};

use crate::{bench::Bench, case::cases, polled::Polled, wait::until};

cases! {
    a_wait_a_grant_and_a_release_are_reported [Inspect],
    timeouts_and_cancels_are_reported [Inspect],
    deadlocks_are_reported [Inspect, Deadlocks],
    broken_locks_are_reported [Inspect, Revoke],
    nothing_happens_nothing_is_reported [Inspect],
    a_listener_is_woken_by_an_event [Inspect],
    two_listeners_hear_the_same [Inspect],
    a_slow_listener_sees_the_gap [Inspect],
}

const WAIT: Duration = Duration::from_secs(1);

/// Somebody who listens from now on.
struct Listener<'a> {
    bench: &'a Bench,
    cursor: u64,
    heard: Vec<Event>,
}

impl<'a> Listener<'a> {
    fn new(bench: &'a Bench) -> Listener<'a> {
        let (events, cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
        assert_eq!(events, [], "earlier events are not reported");
        Listener { bench, cursor, heard: Vec::new() }
    }

    /// Listens until events of these kinds came for `name`, and returns their events.
    fn hears(&mut self, name: &str, kinds: &[EventKind]) -> Vec<Event> {
        let of_name =
            |heard: &[Event]| heard.iter().filter(|event| event.resource == name).cloned().collect::<Vec<_>>();
        until(&format!("{kinds:?} are reported"), || {
            let (events, cursor) = self.bench.locks().events(Some(self.cursor), WAIT).blocking().unwrap();
            self.cursor = cursor;
            self.heard.extend(events);
            of_name(&self.heard).len() >= kinds.len()
        });
        let heard = of_name(&self.heard);
        assert_eq!(heard.iter().map(|event| event.kind).collect::<Vec<_>>(), kinds, "{heard:?}");
        assert!(heard.is_sorted_by(|earlier, later| earlier.sequence < later.sequence && earlier.at <= later.at));
        heard
    }
}

fn a_wait_a_grant_and_a_release_are_reported(bench: &Bench) {
    use EventKind::{Grant, Release, Wait};
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    let mut listener = Listener::new(bench);
    let guard = x.write("a").blocking().unwrap();
    let mut waiter = Polled::queued(y.read("a"));
    let x_token = guard.token();
    drop(guard);
    let guard = waiter.granted();
    let y_token = guard.token();
    drop(guard);
    let heard = listener.hears("a", &[Grant, Wait, Release, Grant, Release]);
    let told: Vec<_> = heard.iter().map(|event| (event.label.as_str(), event.mode, event.token)).collect();
    assert_eq!(
        told,
        [
            ("x", Mode::Write, x_token),
            ("y", Mode::Read, 0),
            ("x", Mode::Write, x_token),
            ("y", Mode::Read, y_token),
            ("y", Mode::Read, y_token)
        ]
    );
    assert_eq!((heard[0].owner, heard[1].owner), (x.id(), y.id()));
    assert!(heard.iter().all(|event| event.pid == std::process::id() && event.at <= SystemTime::now()));
}

fn timeouts_and_cancels_are_reported(bench: &Bench) {
    use EventKind::{Cancel, Timeout, Wait};
    let _guard = bench.locks().write("a").blocking().unwrap();
    let mut listener = Listener::new(bench);
    bench.locks().read("a").timeout(Duration::from_millis(10)).blocking().unwrap_err();
    drop(Polled::queued(bench.locks().write("a")));
    let heard = listener.hears("a", &[Wait, Timeout, Wait, Cancel]);
    assert!(heard[1].elapsed >= Duration::from_millis(10), "{heard:?}");
    assert!(heard.iter().all(|event| event.token == 0));
}

fn deadlocks_are_reported(bench: &Bench) {
    use EventKind::{Deadlock, Wait};
    let (x, y) = (bench.owner("x"), bench.owner("y"));
    let _a = x.write("a").blocking().unwrap();
    let _b = y.write("b").blocking().unwrap();
    let _x_waits = Polled::queued(x.write("b"));
    let mut listener = Listener::new(bench);
    y.write("a").blocking().unwrap_err();
    assert_eq!(listener.hears("a", &[Wait, Deadlock])[1].label, "y");
}

fn broken_locks_are_reported(bench: &Bench) {
    let owner = bench.owner("x");
    let guard = owner.write("a").blocking().unwrap();
    let mut listener = Listener::new(bench);
    bench.locks().break_lock("a", guard.token()).blocking().unwrap();
    let heard = listener.hears("a", &[EventKind::Broken]);
    assert_eq!((heard[0].label.as_str(), heard[0].token), ("x", guard.token()));
}

fn nothing_happens_nothing_is_reported(bench: &Bench) {
    let (_, cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
    for _ in 0..3 {
        let (events, next) = bench.locks().events(Some(cursor), Duration::from_millis(10)).blocking().unwrap();
        assert_eq!((events, next), (Vec::new(), cursor));
    }
}

fn a_listener_is_woken_by_an_event(bench: &Bench) {
    let (_, cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
    thread::scope(|scope| {
        let listening =
            scope.spawn(move || bench.locks().events(Some(cursor), crate::wait::DEADLINE).blocking().unwrap());
        until("the listener hears something", || {
            drop(bench.locks().write("a").blocking().unwrap());
            listening.is_finished()
        });
        let (events, next) = listening.join().unwrap();
        assert_eq!(events[0].resource, "a");
        assert!(next > cursor);
    });
}

fn two_listeners_hear_the_same(bench: &Bench) {
    let (mut one, mut two) = (Listener::new(bench), Listener::new(bench));
    drop(bench.locks().write("a").blocking().unwrap());
    let kinds = [EventKind::Grant, EventKind::Release];
    assert_eq!(one.hears("a", &kinds), two.hears("a", &kinds));
}

fn a_slow_listener_sees_the_gap(bench: &Bench) {
    let (_, cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
    // Waits are always told. More of them than the engine keeps, and than any engine should.
    let guard = bench.locks().write("a").blocking().unwrap();
    const MOST: u64 = 200_000;
    let mut waits = 0;
    while waits < MOST {
        for _ in 0..MOST / 100 {
            assert!(matches!(bench.locks().write("a").begin().unwrap(), Begun::Queued(_)));
        }
        waits += MOST / 100;
        let (events, _) = bench.locks().events(Some(cursor), Duration::ZERO).blocking().unwrap();
        if events[0].sequence > cursor {
            break;
        }
    }
    drop(guard);
    let mut seen = BTreeMap::new();
    let mut at = cursor;
    loop {
        let (events, next) = bench.locks().events(Some(at), Duration::ZERO).blocking().unwrap();
        if events.is_empty() {
            break;
        }
        assert!(next > at, "the cursor moves on");
        at = next;
        seen.extend(events.into_iter().map(|event| (event.sequence, event.kind)));
    }
    let (first, last) = (*seen.keys().next().unwrap(), *seen.keys().last().unwrap());
    assert!(last - cursor + 1 >= 2 * waits, "every event has a number, told or not");
    assert!(first > cursor, "the oldest are lost, and the gap tells");
    assert_eq!(seen.len() as u64, last - first + 1, "no other gap than the one at the beginning");
}
