//! Servers that have no room: what was granted is not forgotten in silence, and new requests get the reason.

use concurrent_locks::{ErrorKind, LockManager};
use concurrent_locks_conformance::until;
use concurrent_locks_servers::{Postgres, Redis};

use crate::stage::{SPACE, Server, Stage, refusal, told};

#[test]
fn redis_without_memory_grants_nothing_and_the_holder_is_notified_at_its_deadline() {
    let stage = Stage::<Redis>::new();
    let bench = stage.near("2s");
    let memory = |bytes| stage.server.command(&["CONFIG", "SET", "maxmemory", bytes]).unwrap();
    let guard = bench.locks().write("held").blocking().unwrap();
    let told = told(&guard);
    memory("1");
    let error = bench.locks().write("free").blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("OOM"), "{error}");
    let newcomer = LockManager::connect(&format!("{}?space=another", stage.server.url())).blocking().unwrap();
    let error = newcomer.write("free").blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    until("the loss is reported", || told.try_recv().is_ok_and(|(kind, _)| kind == ErrorKind::Lost));
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Lost);
    memory("0");
    bench.locks().write("free").blocking().unwrap().release().unwrap();
    bench.locks().write("held").blocking().unwrap().release().unwrap();
    stage.until_nothing_is_left();
}

#[test]
fn postgres_without_a_connection_left_says_so_and_serves_the_others() {
    let full = Postgres::options().setting("max_connections", "5").setting("superuser_reserved_connections", "0");
    let server = full.start().unwrap();
    let url = |number: usize| format!("{}?space={SPACE}-{number}&lease=10m", Server::url(&server));
    let mut connected = Vec::new();
    // Nobody else is there, but who ends a connection may have one a moment longer.
    until("there are no connections left", || match LockManager::connect(&url(connected.len())).blocking() {
        Ok(locks) => {
            connected.push(locks);
            connected.len() == 5
        }
        Err(_) => false,
    });
    let error = refusal(&url(connected.len()));
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("too many clients"), "{error}");
    for locks in connected {
        locks.write("a").blocking().unwrap().release().unwrap();
    }
}
