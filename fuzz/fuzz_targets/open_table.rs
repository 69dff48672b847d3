//! `ASAN_OPTIONS=detect_leaks=0 cargo +nightly fuzz run open_table -- -detect_leaks=0 -runs=5000`
//!
//! Each input leaves a mapping behind (an engine lives as long as its process): so leaks are not looked
//! for, and the fuzzer has a number of runs, after which it is started again. With `TMPDIR=/dev/shm` it
//! is twice as fast. The corpus is replayed by a normal test:
//! `cargo test -p concurrent-locks-death --test hostile_bytes`.
//!
//! Run so far: twice 10 minutes of one core (23,568 and 17,549 inputs). The first found an overflow,
//! which is fixed and in the corpus (`*-last-operation`, `*-last-ticket`); the second found nothing.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

fuzz_target!(|input: &[u8]| {
    concurrent_locks_death::hostile::open_and_use(DIRECTORY.path(), input).expect("no harm");
});
