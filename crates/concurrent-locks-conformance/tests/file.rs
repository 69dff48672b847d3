//! The suite against `file:`, as far as its capabilities go, each case in a directory of its own.

use std::process::ExitCode;

use concurrent_locks_conformance::{Space, run};

fn main() -> ExitCode {
    run(env!("CARGO_BIN_EXE_lock-taker"), fresh)
}

fn fresh() -> Space {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // One level down, so that the engine makes the directory itself, with the permissions it wants.
    Space { url: format!("file:{}", directory.path().join("locks").display()), directory: Some(directory) }
}
