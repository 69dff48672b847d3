//! What the end of a process, of a wait and of a statement leaves behind, and what it does not.

use std::{thread, time::Duration};

use concurrent_locks::{ErrorKind, Mode};
use concurrent_locks_conformance::{Polled, until};
use concurrent_locks_servers::Postgres;

use crate::{
    on_both_servers,
    stage::{Server, Stage, bench},
};

on_both_servers! {
    a_detached_process_leaves_nothing,
    a_failed_detach_is_reported,
    a_waiter_that_was_stopped_while_its_turn_passed_asks_again,
    a_thread_learns_that_the_server_is_silent,
}

/// A hundred locks of one future: no thread waits for the answers to their releases.
fn a_detached_process_leaves_nothing<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near("10m");
    let names: Vec<String> = (0..100).map(|number| format!("name {number}")).collect();
    let owner = bench.owner("all");
    for forgets in [false, true] {
        let all = owner.lock_all(names.iter().map(|name| (name.as_str(), Mode::Write)));
        let guards = Polled::new(all).granted();
        if forgets {
            std::mem::forget(guards);
        } else {
            drop(guards);
        }
        bench.locks().detach().unwrap();
        assert_eq!(stage.server.requests(), 0, "forgotten: {forgets}");
    }
    // What is asked after that begins again.
    bench.locks().write("a").blocking().unwrap().release().unwrap();
}

fn a_failed_detach_is_reported<S: Server>() {
    let mut stage = Stage::<S>::new();
    let bench = stage.near("10m");
    let guard = Polled::new(bench.locks().write("a")).granted();
    stage.server.stop();
    drop(guard);
    let error = bench.locks().detach().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    stage.server.go_on();
    stage.until_nothing_is_left();
}

/// It was never inside, so nothing is lost.
fn a_waiter_that_was_stopped_while_its_turn_passed_asks_again<S: Server>() {
    let stage = Stage::<S>::new();
    let bench = stage.near("2s");
    for manner in ["", " async"] {
        let guard = bench.locks().write("a").blocking().unwrap();
        let mut waiter = bench.taker();
        waiter.send(&format!("write a timeout=600000{manner}"));
        bench.until_waiting("a", 1);
        waiter.stop();
        guard.release().unwrap();
        // Its turn came and went, and nobody holds or waits.
        until("its turn has ended", || {
            let status = bench.status("a");
            status.holders.is_empty() && status.waiters.is_empty()
        });
        waiter.go_on();
        waiter.answer().token();
        waiter.ask("release a").after("released");
    }
}

fn a_thread_learns_that_the_server_is_silent<S: Server>() {
    let mut stage = Stage::<S>::new();
    let bench = stage.near("10s");
    bench.locks().write("a").blocking().unwrap().release().unwrap();
    stage.server.stop();
    // As long as it likes to wait for the lock, it does not wait so long for an answer.
    let error = bench.locks().write("b").timeout(None).blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let concurrent_locks::Begun::Queued(queued) = bench.locks().write("c").timeout(None).ask().unwrap() else {
        panic!("nobody answers");
    };
    let error = queued.blocking_while(|| true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    stage.server.go_on();
    stage.until_nothing_is_left();
}

/// Nothing is damaged: the statement is sent again.
#[test]
fn a_cancelled_statement_is_resent() {
    let server = Postgres::fresh();
    let bench = bench(&Server::url(&server), "10m");
    bench.locks().write("a").blocking().unwrap().release().unwrap();
    let sql = |sql: &str| server.sql("postgres", sql).unwrap();
    let ours = "from pg_stat_activity where application_name = 'concurrent_locks' and wait_event = 'advisory'";
    thread::scope(|scope| {
        // Somebody is at work on the resource.
        let worker = scope.spawn(|| {
            // It ends by being terminated.
            server.sql(
                "postgres",
                &format!(
                    "begin; select pg_advisory_xact_lock(concurrent_locks.resource_key('{}', 'a')); select pg_sleep(600)",
                    crate::stage::SPACE
                ),
            )
        });
        let at_work = "from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";
        until("somebody is at work", || sql(&format!("select count(*) {at_work} and wait_event = 'PgSleep'")) == "1");
        let asked = scope.spawn(|| bench.locks().write("a").timeout(Duration::from_secs(600)).blocking());
        until("our call waits", || sql(&format!("select count(*) {ours}")) == "1");
        assert_eq!(sql(&format!("select pg_cancel_backend(pid) {ours}")), "t");
        until("it waits again", || sql(&format!("select count(*) {ours}")) == "1");
        sql(&format!("select pg_terminate_backend(pid) {at_work}"));
        assert!(worker.join().unwrap().is_err());
        asked.join().unwrap().unwrap().release().unwrap();
    });
}
