//! The suite against `host:`, each case in a table of its own.

use std::process::ExitCode;

use concurrent_locks_conformance::{Space, run};

fn main() -> ExitCode {
    run(env!("CARGO_BIN_EXE_lock-taker"), fresh)
}

fn fresh() -> Space {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Space { url: format!("host:{}", directory.path().join("t.table").display()), directory: Some(directory) }
}
