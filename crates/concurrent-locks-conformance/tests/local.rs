//! The suite against `local:`.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
};

use concurrent_locks_conformance::{Space, run};

fn main() -> ExitCode {
    run(env!("CARGO_BIN_EXE_lock-taker"), fresh)
}

fn fresh() -> Space {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Space { url: format!("local:conformance-{}", NEXT.fetch_add(1, Ordering::Relaxed)), directory: None }
}
