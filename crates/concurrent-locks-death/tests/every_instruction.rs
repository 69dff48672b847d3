//! A sample of the instructions of every scenario. All of them: `cargo xtask death --stride 1`.
#![cfg(target_os = "linux")]

use std::path::Path;

use concurrent_locks_death::{
    run::{Plan, run},
    scenario::Scenario,
};

macro_rules! scenarios {
    ($($test:ident: $name:literal at $points:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let scenario = Scenario::named($name).expect("it is in the list");
                let report = run(scenario, Plan::Points($points), Path::new(env!("CARGO_BIN_EXE_victim")));
                match report {
                    Ok(report) => eprintln!("{report}"),
                    Err(error) => panic!("{error}"),
                }
            }
        )*

        #[test]
        fn every_scenario_is_run() {
            let here = [$($name),*];
            for scenario in concurrent_locks_death::scenario::ALL {
                assert!(here.contains(&scenario.name), "{} has no test", scenario.name);
            }
        }
    };
}

scenarios! {
    acquire_a_new_name: "acquire-new-name" at 40,
    acquire: "acquire" at 40,
    acquire_two: "acquire-two" at 40,
    acquire_and_release_straight: "straight" at 40,
    release: "release" at 40,
    release_to_a_writer: "release-to-writer" at 40,
    release_to_six_readers: "release-to-readers" at 40,
    release_to_a_wake_window: "release-to-window" at 40,
    break_a_lock: "break" at 12,
    downgrade: "downgrade" at 40,
    upgrade: "upgrade" at 40,
    time_out: "time-out" at 40,
    wait_until_granted: "wait" at 40,
    wait_asleep_until_granted: "wait-asleep" at 20,
    wait_asleep_for_a_wake_window: "wait-for-window" at 20,
    cancel: "cancel" at 40,
    cancel_when_granted: "cancel-when-granted" at 40,
    attach: "attach" at 10,
    create: "create" at 5,
    reap: "reap" at 40,
    reap_many: "reap-many" at 20,
    release_many: "release-many" at 20,
    take_over: "take-over" at 40,
    pass_over: "pass-over" at 20,
    a_sleeper_that_wakes: "sleeper" at 20,
    evict: "evict" at 20,
}
