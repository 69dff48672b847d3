//! Who is let in, with which rights, and what is said to whom is not.

use std::{net::TcpListener, time::Duration};

use concurrent_locks::{Error, ErrorKind, Mode};
use concurrent_locks_conformance::{Bench, Polled};
use concurrent_locks_servers::{Postgres, Redis};

use crate::stage::{bench, refusal};

const PASSWORD: &str = "s3cret-and-not-shown";
const WRONG: &str = "wr0ng-and-not-shown";
/// What the documents tell to grant.
const RIGHTS: &str = "resetchannels ~locks:* &locks:* -@all +@connection +@hash +@sortedset +@list +@stream +@pubsub \
                      +@keyspace -@dangerous +evalsha +script|load +script|exists +time +info";

#[track_caller]
fn assert_refused(error: &Error, kind: ErrorKind, says: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(says), "{text}");
    assert!(!text.contains(PASSWORD) && !text.contains(WRONG), "{text}");
}

/// Everything that can be asked of locks, with a waiter of this process and one of another.
pub(crate) fn use_all(bench: &Bench) {
    let locks = bench.locks();
    let (_, cursor) = locks.events(None, Duration::ZERO).blocking().unwrap();
    let mut guard = locks.write("a").blocking().unwrap();
    let mut waiter = Polled::queued(locks.read("a"));
    bench.until_waiting("a", 1);
    let mut other = bench.taker();
    other.send("read a");
    bench.until_waiting("a", 2);
    bench.assert_busy("a", Mode::Read);
    assert_eq!(locks.read("a").timeout(Duration::from_millis(1)).blocking().unwrap_err().kind(), ErrorKind::TimedOut);
    drop(Polled::queued(locks.write("a")));
    guard.downgrade().unwrap();
    waiter.granted().release().unwrap();
    other.answer().token();
    other.ask("release a").after("released");
    guard.upgrade().blocking().unwrap();
    locks.lock_all([("b", Mode::Write), ("c", Mode::Read)]).blocking().unwrap().release().unwrap();
    locks.break_lock("a", guard.token()).blocking().unwrap();
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    assert!(
        !locks.status_all().blocking().unwrap().contains_key("b") || locks.status("b").blocking().unwrap().is_some()
    );
    assert!(!locks.statistics("a").blocking().unwrap().is_empty());
    locks.reset_statistics(None).blocking().unwrap();
    assert!(locks.deadlocks().blocking().unwrap().cycles.is_empty());
    assert!(!locks.events(Some(cursor), Duration::ZERO).blocking().unwrap().0.is_empty());
    locks.health().blocking().unwrap();
    bench.assert_free("a");
}

#[test]
fn redis_wants_its_password() {
    let server = Redis::options().password(PASSWORD).start().unwrap();
    use_all(&bench(&server.url(), "10s"));
    let none = format!("redis://{}", server.address());
    assert_refused(&refusal(&none), ErrorKind::Permission, "NOAUTH");
    assert_refused(&refusal(&none), ErrorKind::Permission, "wants a password, and the URL has none");
    let wrong = format!("redis://:{WRONG}@{}", server.address());
    assert_refused(&refusal(&wrong), ErrorKind::Permission, "WRONGPASS");
    assert_refused(&refusal(&wrong), ErrorKind::Permission, "refused the user or the password; check both in the URL");
}

#[test]
fn a_user_of_redis_needs_no_more_rights_than_the_documents_say() {
    let users = format!(
        "user default off\nuser locks on >{PASSWORD} {RIGHTS}\nuser half on >{PASSWORD} {RIGHTS} -evalsha\n\
         user other on >{PASSWORD} {}",
        RIGHTS.replace("locks:*", "theirs:*")
    );
    let server = Redis::options().access(&users).start().unwrap();
    use_all(&bench(&server.url_of("locks", PASSWORD), "10s"));
    assert_refused(&refusal(&server.url_of("locks", WRONG)), ErrorKind::Permission, "WRONGPASS");
    assert_refused(&refusal(&server.url_of("other", PASSWORD)), ErrorKind::Permission, "NOPERM");
    assert_refused(&refusal(&server.url_of("half", PASSWORD)), ErrorKind::Permission, "evalsha");
    // Which of several servers refuses is said.
    let address = server.address().to_string();
    assert_refused(&refusal(&server.url_of("other", PASSWORD)), ErrorKind::Permission, &address);
}

#[test]
fn postgres_wants_its_password() {
    let server = Postgres::options().password(PASSWORD).start().unwrap();
    use_all(&bench(&server.url("postgres"), "10s"));
    let wrong = server.url("postgres").replace(PASSWORD, WRONG);
    assert_refused(&refusal(&wrong), ErrorKind::Permission, "28P01");
    assert_refused(&refusal(&wrong), ErrorKind::Permission, "refused the user or the password; check both in the URL");
    let none = server.url("postgres").replace(&format!(":{PASSWORD}"), "");
    assert_refused(&refusal(&none), ErrorKind::Permission, "password");
    let nowhere = server.url("nowhere");
    assert_refused(&refusal(&nowhere), ErrorKind::InvalidInput, "nowhere");
}

#[test]
fn a_role_of_postgres_that_may_not_create_the_schema_learns_what_to_apply() {
    let server = Postgres::start().unwrap();
    let database = server.create_database().unwrap();
    server.sql(&database, "create role modest login").unwrap();
    let url = server.url(&database).replace("postgres@", "modest@");
    let error = refusal(&url);
    assert_refused(&error, ErrorKind::Permission, "42501");
    assert_refused(&error, ErrorKind::Permission, "schema");
    // Somebody who may makes it, and it is still not for everybody.
    use_all(&bench(&server.url(&database), "10s"));
    assert_refused(&refusal(&url), ErrorKind::Permission, "42501");
    let grants = "grant usage on schema concurrent_locks to modest; \
                  grant select, insert, update, delete on all tables in schema concurrent_locks to modest; \
                  grant select, update on all sequences in schema concurrent_locks to modest";
    server.sql(&database, grants).unwrap();
    use_all(&bench(&url, "10s"));
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for (scheme, rest) in [("redis", ""), ("rediss", ""), ("postgres", "/locks")] {
        let error = refusal(&format!("{scheme}://user:{PASSWORD}@{address}{rest}"));
        assert_refused(&error, ErrorKind::Unreachable, &address);
    }
}
