//! The suite against `redis://`, each case in a space of its own on the shared server.

use std::process::ExitCode;

use concurrent_locks_conformance::{Space, cannot_run, run};
use concurrent_locks_servers::Redis;

fn main() -> ExitCode {
    match Redis::shared() {
        Ok(_) => run(env!("CARGO_BIN_EXE_lock-taker"), fresh),
        Err(error) => cannot_run(&error),
    }
}

fn fresh() -> Space {
    Space { url: Redis::shared().expect("the server that was there before").fresh_space(), directory: None }
}
