//! Eight processes that lock at random, killed at random, cross-checked by flock(2).
#![cfg(target_os = "linux")]

use std::{path::Path, time::Duration};

use concurrent_locks_death::chaos::{Chaos, namespaces_work};

const VICTIM: &str = env!("CARGO_BIN_EXE_victim");
const CHAOS: Chaos = Chaos { workers: 8, names: 6, time: Duration::from_secs(6), namespaces: false, seed: 1 };

fn run(chaos: Chaos) {
    match chaos.run(Path::new(VICTIM)) {
        Ok(report) => {
            eprintln!("{report}");
            assert!(report.kills > 0 && report.acquisitions > 0, "nothing happened: {report}");
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nobody_holds_what_another_holds_whoever_is_killed() {
    run(CHAOS);
}

#[test]
fn nor_in_pid_namespaces_of_their_own() {
    if namespaces_work() {
        run(Chaos { namespaces: true, seed: 2, ..CHAOS });
    } else {
        eprintln!("SKIPPED: `unshare -Urpf --mount-proc` does not work here");
    }
}
