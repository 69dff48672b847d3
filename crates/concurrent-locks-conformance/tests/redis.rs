//! The whole suite against `redis://`, each case in a space of its own.
use std::process::ExitCode;
use concurrent_locks_conformance::{Space, run};
fn main() -> ExitCode { run(env!("CARGO_BIN_EXE_lock-taker"), fresh) }
fn fresh() -> Space {
    use std::hash::{BuildHasher, RandomState};
    let space = RandomState::new().hash_one(std::process::id());
    Space { url: format!("redis://127.0.0.1:7001?space=case-{space:x}"), directory: None }
}
