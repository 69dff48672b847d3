//! A server that falls silent: the loss is reported in time, and not too soon.

use std::time::{Duration, SystemTime};

use concurrent_locks::{ErrorKind, Mode, Standing};
use concurrent_locks_conformance::{Polled, until};

use crate::{
    on_both_servers,
    stage::{Server, Stage, told},
};

on_both_servers! {
    the_loss_is_reported_before_another_process_has_the_lock,
    the_loss_is_reported_while_the_server_is_silent,
    a_renewal_that_comes_through_in_time_keeps_the_lock,
    a_limited_hold_goes_to_another_process_though_its_own_lives,
}

/// The network to one process is silent; the server serves the others.
fn the_loss_is_reported_before_another_process_has_the_lock<S: Server>() {
    let stage = Stage::<S>::new();
    let (near, far) = (stage.near("10s"), stage.far("10s"));
    let guard = far.locks().write("a").blocking().unwrap();
    let told = told(&guard);
    let mut next = near.taker();
    next.send("write a");
    near.until_waiting("a", 1);
    stage.proxy.stall(true);
    let token = next.answer().token();
    let held = near.status("a").holders[0].held;
    let granted = SystemTime::now() - held;
    let (kind, told_at) = told.try_recv().expect("the loss is reported before the lock is granted elsewhere");
    assert_eq!(kind, ErrorKind::Lost);
    assert!(told_at < granted, "told {:?} after the grant to another", told_at.duration_since(granted));
    assert!(token > guard.token());
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    // What was said into the silence arrives, and takes nothing from the new holder.
    stage.proxy.stall(false);
    let later = far.locks().write("b").blocking().unwrap();
    near.assert_busy("a", Mode::Read);
    next.ask("release a").after("released");
    later.release().unwrap();
    near.assert_free("a");
    stage.until_nothing_is_left();
}

fn the_loss_is_reported_while_the_server_is_silent<S: Server>() {
    let mut stage = Stage::<S>::new();
    let bench = stage.near("10s");
    let mut other = bench.taker();
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut lost = Polled::queued(guard.lost());
    let told = told(&guard);
    stage.server.stop();
    let mut standing = Polled::queued(guard.verify());
    assert_eq!(guard.verify().blocking(), Standing::Unknown);
    assert!(told.try_recv().is_err(), "nobody else can have it yet");
    let mut danger = false;
    until("the lease has expired", || {
        let lease = guard.lease().unwrap();
        danger |= lease.in_danger && !lease.remaining.is_zero();
        lease.remaining.is_zero()
    });
    assert!(danger, "the danger comes before the loss");
    assert_eq!(lost.ready().kind(), ErrorKind::Lost);
    until("the callback is called", || told.try_recv().is_ok_and(|(kind, _)| kind == ErrorKind::Lost));
    assert_eq!(standing.ready(), Standing::Lost);
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    stage.server.go_on();
    other.take("write a");
    other.ask("release a").after("released");
    bench.assert_free("a");
    stage.until_nothing_is_left();
}

fn a_renewal_that_comes_through_in_time_keeps_the_lock<S: Server>() {
    let stage = Stage::<S>::new();
    let (near, far) = (stage.near("9s"), stage.far("9s"));
    let guard = far.locks().write("a").blocking().unwrap();
    let told = told(&guard);
    stage.proxy.stall(true);
    until("renewals fail", || guard.lease().unwrap().in_danger);
    stage.proxy.stall(false);
    until("it is out of danger", || !guard.lease().unwrap().in_danger);
    let length = guard.lease().unwrap().length;
    until("it has been held for longer than a lease", || guard.held_for() > length + length / 3);
    assert_eq!(guard.verify().blocking(), Standing::Renewed);
    assert!(told.try_recv().is_err());
    near.assert_busy("a", Mode::Read);
    guard.release().unwrap();
    near.assert_free("a");
}

fn a_limited_hold_goes_to_another_process_though_its_own_lives<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near("10m");
    let others = bench.locks().write("b").blocking().unwrap();
    let guard = bench.locks().write("a").max_hold(Duration::from_millis(500)).blocking().unwrap();
    let mut lost = Polled::queued(guard.lost());
    assert!(bench.taker().take("write a") > guard.token());
    assert_eq!(lost.ready().kind(), ErrorKind::Lost);
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(others.verify().blocking(), Standing::Renewed);
    others.release().unwrap();
}
