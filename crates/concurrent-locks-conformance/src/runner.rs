//! Runs the cases against one engine, as a test binary without a harness.

use std::{path::PathBuf, process::ExitCode};

use concurrent_locks::LockManager;
use libtest_mimic::{Arguments, Trial};

use crate::{
    bench::{Bench, Space},
    cases,
};

/// The `main` of an engine's test binary. `space` makes a fresh lock space, one for each case;
/// `taker` is the path of the lock-taker program.
///
/// A case that needs what the engine cannot is listed as ignored, with what is lacking.
///
/// # Panics
/// If the engine cannot be opened at all: then nothing is checked, and nothing passes.
pub fn run(taker: &str, space: fn() -> Space) -> ExitCode {
    let arguments = Arguments::from_args();
    let probe = space();
    let locks = LockManager::connect(&probe.url).blocking().unwrap_or_else(|error| panic!("{}: {error}", probe.url));
    let trials = cases::all()
        .map(|(group, case)| {
            let taker = PathBuf::from(taker);
            let lacks = case.lacks(&locks);
            let trial = Trial::test(format!("{group}::{}", case.name), move || {
                (case.run)(&Bench::new(space(), taker));
                Ok(())
            });
            if lacks.is_empty() { trial } else { trial.with_kind(format!("lacks {lacks:?}")).with_ignored_flag(true) }
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The `main` of an engine's test binary where the engine cannot be had: one test, which says why.
/// Not a panic, since a list of tests that ends so takes all other tests along.
pub fn cannot_run(why: &dyn std::error::Error) -> ExitCode {
    let why = why.to_string();
    let trial = Trial::test("the_engine_can_be_had", move || Err(why.into()));
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
