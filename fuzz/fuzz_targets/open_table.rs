//! `cargo +nightly fuzz run open_table -- -runs=20000`
//!
//! Each input leaves a mapping behind (an engine lives as long as its process), so give the fuzzer
//! a number of runs and start it again, or use its `-fork=1`. The corpus is replayed by a normal
//! test: `cargo test -p concurrent-locks-death --test hostile_bytes`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

fuzz_target!(|input: &[u8]| {
    concurrent_locks_death::hostile::open_and_use(DIRECTORY.path(), input).expect("no harm");
});
