//! A process that is stopped while it cleans up after a dead one delays nobody but one bucket.
#![cfg(target_os = "linux")]

use std::path::Path;

use concurrent_locks_death::stopped::stop_reapers;

#[test]
fn a_stopped_reaper_keeps_nothing_of_the_dead_but_one_bucket() {
    let stops = stop_reapers(40, Path::new(env!("CARGO_BIN_EXE_victim"))).unwrap();
    eprintln!("{stops:?}");
    assert!(stops.stops > 20, "{stops:?}");
}
