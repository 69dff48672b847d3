//! Connections that are cut and servers that start again: what was held, waited for and released is not lost,
//! or the loss is reported.

use concurrent_locks::{ErrorKind, Mode, Standing};
use concurrent_locks_conformance::{Polled, until};
use concurrent_locks_servers::{Proxy, Redis};

use crate::{
    on_both_servers,
    stage::{Server, Stage, bench, refusal, told},
};

on_both_servers! {
    a_cut_connection_loses_nothing,
    a_server_that_starts_again_with_its_data_has_lost_nothing,
    a_server_that_has_lost_its_data_tells_so,
    the_first_host_that_serves_is_used,
}

fn a_cut_connection_loses_nothing<S: Server>() {
    let stage = Stage::<S>::new();
    let (near, far) = (stage.near(S::LASTING), stage.far(S::LASTING));
    let held = far.locks().write("held").blocking().unwrap();
    let told = told(&held);
    let busy = near.locks().write("busy").blocking().unwrap();
    let mut first = Polled::queued(far.locks().write("busy"));
    near.until_waiting("busy", 1);
    let mut second = near.taker();
    second.send("write busy");
    near.until_waiting("busy", 2);
    for _ in 0..10 {
        let given = Polled::new(far.locks().write("given")).granted();
        // What is said now never comes to the server.
        stage.proxy.stall(true);
        drop(given);
        let mut asked = Polled::queued(far.locks().write("asked"));
        stage.proxy.cut();
        stage.proxy.stall(false);
        drop(asked.granted());
        near.assert_free("given");
        near.assert_free("asked");
        assert_eq!(held.verify().blocking(), Standing::Renewed);
    }
    near.assert_busy("held", Mode::Read);
    busy.release().unwrap();
    let first = first.granted();
    assert_eq!(near.waiters("busy"), 1);
    second.assert_silent();
    first.release().unwrap();
    assert!(second.answer().token() > 0);
    second.ask("release busy").after("released");
    assert!(told.try_recv().is_err());
    held.release().unwrap();
    stage.until_nothing_is_left();
}

fn a_server_that_starts_again_with_its_data_has_lost_nothing<S: Server>() {
    let mut stage = Stage::<S>::new();
    let bench = stage.near(S::LASTING);
    let guard = bench.locks().write("a").blocking().unwrap();
    let told = told(&guard);
    let [mut first, mut second] = [bench.taker(), bench.taker()];
    for (waiters, taker) in [&mut first, &mut second].into_iter().enumerate() {
        taker.send("write a");
        bench.until_waiting("a", waiters + 1);
    }
    stage.server.settle();
    stage.server.restart();
    until("the guard's process has connected again", || guard.verify().blocking() == Standing::Renewed);
    first.assert_silent();
    bench.assert_busy("a", Mode::Read);
    assert!(told.try_recv().is_err());
    let token = guard.token();
    guard.release().unwrap();
    let next = first.answer().token();
    assert!(next > token);
    second.assert_silent();
    first.ask("release a").after("released");
    assert!(second.answer().token() > next);
    second.ask("release a").after("released");
    stage.until_nothing_is_left();
}

fn a_server_that_has_lost_its_data_tells_so<S: Server>() {
    let mut stage = Stage::<S>::new();
    let far = stage.far(S::LASTING);
    let guard = far.locks().write("a").blocking().unwrap();
    let told = told(&guard);
    let mut waiter = Polled::queued(far.locks().write("a"));
    far.until_waiting("a", 1);
    stage.proxy.refuse(true);
    stage.proxy.cut();
    stage.server.forget();
    stage.proxy.refuse(false);
    until("the loss is reported", || told.try_recv().is_ok_and(|(kind, _)| kind == ErrorKind::Lost));
    assert_eq!(guard.verify().blocking(), Standing::Lost);
    // Waiters queue again, and tokens keep rising.
    let next = waiter.granted();
    assert!(next.token() > guard.token());
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(next.verify().blocking(), Standing::Renewed);
    next.release().unwrap();
    stage.until_nothing_is_left();
}

fn the_first_host_that_serves_is_used<S: Server>() {
    let stage = Stage::<S>::new();
    let address = stage.server.address().to_string();
    // Each connection to it is closed at once.
    let closed = Proxy::to(stage.server.address());
    closed.refuse(true);
    let url = stage.server.url();
    let hosts = |hosts: &[&str]| url.replacen(&address, &hosts.join(","), 1);
    let down = closed.address().to_string();
    let bench = bench(&hosts(&[&down, &address]), S::LASTING);
    let guard = bench.locks().write("a").blocking().unwrap();
    stage.near(S::LASTING).assert_busy("a", Mode::Read);
    guard.release().unwrap();
    let error = refusal(&hosts(&[&down, &down]));
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains(&down), "{error}");
}

#[test]
fn a_replica_is_passed_over_for_the_primary() {
    let primary = Redis::start().unwrap();
    let replica = Redis::options().replica_of(&primary).start().unwrap();
    let bench = bench(&format!("redis://{},{}", replica.address(), primary.address()), Redis::LASTING);
    let guard = bench.locks().write("a").blocking().unwrap();
    assert_eq!(primary.requests(), 2, "a row and a holder");
    guard.release().unwrap();
    let error = refusal(&replica.url());
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("replica"), "{error}");
}

#[test]
fn scripts_that_the_server_has_forgotten_are_loaded_again() {
    let stage = Stage::<Redis>::new();
    let bench = stage.near(Redis::LASTING);
    let flush = || stage.server.command(&["SCRIPT", "FLUSH"]).unwrap();
    let guard = bench.locks().write("a").blocking().unwrap();
    let mut next = bench.taker();
    next.send("write a");
    bench.until_waiting("a", 1);
    flush();
    assert_eq!(guard.verify().blocking(), Standing::Renewed);
    flush();
    guard.release().unwrap();
    next.answer().token();
    flush();
    next.ask("release a").after("released");
    flush();
    bench.assert_free("a");
    stage.until_nothing_is_left();
}
