//! A pooler that nobody named: it shares the server's connections out, so no connection is anybody's proof of life.

use std::{sync::mpsc, thread, time::Duration};

use concurrent_locks::{ErrorKind, LockManager};
use concurrent_locks_conformance::until;
use concurrent_locks_servers::{PgBouncer, Pooler, Postgres};

use crate::{
    access::use_all,
    stage::{Server, bench, refusal},
};

/// So long that nothing ends by it.
const LEASE: &str = "10m";

/// Whether a pooler is named among the problems.
fn named(locks: &LockManager) -> bool {
    locks.health().blocking().unwrap().problems.iter().any(|problem| problem.contains("listen="))
}

fn exclude_each_other(server: &Postgres, url: &str) {
    let bench = bench(url, LEASE);
    let mut holder = bench.taker();
    let token = holder.take("write a");
    // Twice as long as a dead one is in the way where connections prove life.
    let busy = bench.locks().write("a").timeout(Duration::from_secs(3)).blocking().unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::TimedOut, "{busy}");
    holder.ask("release a").after("released");
    assert!(bench.locks().write("a").blocking().unwrap().token() > token);
    assert!(named(bench.locks()), "the doctor names the pooler");
    use_all(&bench);
    let left = "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1";
    until("no lock is left on the pooler's connections", || server.sql("postgres", left).unwrap() == "0");
}

#[test]
fn two_behind_a_pooler_that_knows_prepared_statements_exclude_each_other() {
    let server = Postgres::fresh();
    for connections in [1, 3] {
        let pooler = Pooler::before(server.address(), connections);
        exclude_each_other(&server, &pooler.url(&Server::url(&server)));
    }
}

#[test]
fn two_behind_pgbouncer_exclude_each_other() {
    let server = Postgres::fresh();
    let pooler = PgBouncer::start(&server).unwrap();
    exclude_each_other(&server, &pooler.url("postgres"));
}

#[test]
fn a_server_of_its_own_proves_life_and_a_pooler_in_listen_is_refused() {
    let server = Postgres::fresh();
    let pooler = Pooler::before(server.address(), 2);
    let url = Server::url(&server);
    assert!(!named(bench(&url, LEASE).locks()));
    let direct = LockManager::connect(&format!("{}?listen={}", pooler.url(&url), server.address())).blocking().unwrap();
    assert!(!named(&direct), "listen= names the server itself");
    let error = refusal(&format!("{url}?listen={}", pooler.address()));
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("listen="), "{error}");
}

/// Worse than any we know: it is seen by the first call that is carried out elsewhere.
#[test]
fn a_pooler_that_tells_the_number_of_a_server_process_is_found_out() {
    let server = Postgres::fresh();
    let pooler = Pooler::that_forges_keys(server.address(), 2);
    let url = pooler.url(&Server::url(&server));
    let (bench, other) = (bench(&url, LEASE), LockManager::connect(&format!("{url}?space=other")).blocking().unwrap());
    thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        // Busy in between, so that both of the server's connections are used by both.
        scope.spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                other.write("b").blocking().unwrap().release().unwrap();
            }
        });
        until("it is found out", || {
            // While it is, a lock may be reported as lost.
            drop(bench.locks().write("a").blocking());
            named(bench.locks())
        });
        drop(stop);
    });
}
