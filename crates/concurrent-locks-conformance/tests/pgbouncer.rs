//! The suite against `postgres://` behind PgBouncer in transaction mode: calls go through it, each transaction to
//! any of its connections; pushes and the proof of life go to PostgreSQL itself. Each case in a space of its own
//! on the shared server.

use std::process::ExitCode;

use concurrent_locks_conformance::{Space, cannot_run, run};
use concurrent_locks_servers::PgBouncer;

fn main() -> ExitCode {
    match PgBouncer::shared() {
        Ok(_) => run(env!("CARGO_BIN_EXE_lock-taker"), fresh),
        Err(error) => cannot_run(&error),
    }
}

fn fresh() -> Space {
    Space { url: PgBouncer::shared().expect("the server that was there before").fresh_space(), directory: None }
}
