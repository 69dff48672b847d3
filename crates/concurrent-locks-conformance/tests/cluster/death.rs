//! Processes that are killed: their locks and places pass on, long before their lease expires where the
//! server can know it.

use std::time::Duration;

use concurrent_locks::EventKind;
use concurrent_locks_conformance::until;

use crate::{
    on_both_servers,
    stage::{Server, Stage},
};

on_both_servers! {
    a_waiter_and_a_newcomer_get_what_the_dead_held,
    a_dead_waiter_at_the_head_of_the_queue_is_skipped,
    a_grant_to_the_dead_is_soon_taken_back,
    a_busy_lock_tells_of_a_holder_that_is_silent,
}

/// Ten times as long as a test waits for anything: what comes in time does not come by the lease's end.
const LONG: &str = "10m";

fn a_waiter_and_a_newcomer_get_what_the_dead_held<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near(S::MOURNING);
    let mut dead = bench.taker();
    let tokens = ["a", "b"].map(|name| dead.take(&format!("write {name}")));
    let mut waiter = bench.taker();
    waiter.send("write a");
    bench.until_waiting("a", 1);
    dead.kill();
    let newcomer = bench.locks().write("b").blocking().unwrap();
    assert!(newcomer.token() > tokens[1]);
    assert!(waiter.answer().token() > tokens[0]);
    waiter.ask("release a").after("released");
    newcomer.release().unwrap();
    stage.until_nothing_is_left();
}

fn a_dead_waiter_at_the_head_of_the_queue_is_skipped<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near(LONG);
    let guard = bench.locks().write("a").blocking().unwrap();
    let [mut dead, mut next] = [bench.taker(), bench.taker()];
    for (waiters, taker) in [&mut dead, &mut next].into_iter().enumerate() {
        taker.send("write a");
        bench.until_waiting("a", waiters + 1);
    }
    dead.kill();
    bench.until_waiting("a", 1);
    guard.release().unwrap();
    next.answer().token();
    next.ask("release a").after("released");
    stage.until_nothing_is_left();
}

/// The hand-off comes before anybody can know of the death.
fn a_grant_to_the_dead_is_soon_taken_back<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near(LONG);
    let guard = bench.locks().write("a").blocking().unwrap();
    let [mut dead, mut next] = [bench.taker(), bench.taker()];
    for (waiters, taker) in [&mut dead, &mut next].into_iter().enumerate() {
        taker.send("write a");
        bench.until_waiting("a", waiters + 1);
    }
    let (_, cursor) = bench.locks().events(None, Duration::ZERO).blocking().unwrap();
    dead.kill();
    guard.release().unwrap();
    next.answer().token();
    let (events, _) = bench.locks().events(Some(cursor), Duration::ZERO).blocking().unwrap();
    let to_the_dead = events.iter().any(|event| event.kind == EventKind::Grant && event.pid == dead.pid());
    assert!(to_the_dead || S::KNOWS_THE_DEAD, "{events:?}");
    next.ask("release a").after("released");
    stage.until_nothing_is_left();
}

/// Cut off from the server, with its connection open: only the end of its lease frees what it holds.
fn a_busy_lock_tells_of_a_holder_that_is_silent<S: Server>() {
    let stage = Stage::<S>::new();
    let (bench, cut_off) = (stage.near(LONG), stage.far("20s"));
    let guard = cut_off.locks().write("a").blocking().unwrap();
    let refusal = || bench.locks().write("a").try_now().unwrap_err();
    assert!(!refusal().to_string().contains("silent"), "{}", refusal());
    stage.proxy.stall(true);
    let mut error = refusal();
    until("the holder is known to be silent", || {
        error = refusal();
        error.busy().unwrap().holders[0].silence.is_some()
    });
    let silence = error.busy().unwrap().holders[0].silence.unwrap();
    let half = Duration::from_secs(10);
    assert!(silence.silent > half && silence.lease_left <= half, "{silence:?}");
    let text = error.to_string();
    assert!(text.contains("s: its lease ends in ") && text.contains(" s, then the lock is free"), "{text}");
    stage.proxy.stall(false);
    drop(guard);
}
