//! What only the cluster engines promise: what becomes of locks when servers fall silent, connections are cut
//! and processes die, who is let in, and what it costs at the server. Each test against a real Redis and a real
//! PostgreSQL, started by the test, since most of them disturb it.
#![cfg(target_os = "linux")]

mod access;
mod cancellation;
mod crowd;
mod death;
mod ends;
mod failing_server;
mod fork;
mod full_server;
mod hosts;
mod pooler;
mod reconnection;
mod round_trips;
mod slots;
mod stage;
mod tls;

/// Makes tests of functions that take the kind of server as a parameter.
macro_rules! on_both_servers {
    ($($(#[$attribute:meta])* $test:ident,)*) => {
        mod redis {
            $(#[test] $(#[$attribute])* fn $test() { super::$test::<concurrent_locks_servers::Redis>() })*
        }
        mod postgres {
            $(#[test] $(#[$attribute])* fn $test() { super::$test::<concurrent_locks_servers::Postgres>() })*
        }
    };
}
use on_both_servers;
