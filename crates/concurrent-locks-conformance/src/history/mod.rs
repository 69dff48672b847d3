//! Random histories: many tasks, threads and processes do random things to a few locks, write down
//! what they saw and when, and a judge reads all of it afterwards.
//!
//! Times are nanoseconds of a clock of the system, so those of all processes compare.

mod judge;
mod record;
mod run;

pub use judge::{Rules, judge};
pub use record::{Outcome, Record, now};
pub use run::{Plan, run};

/// The environment variable that sets the seed of a random case, to see a failure again.
pub const SEED_VARIABLE: &str = "CONFORMANCE_SEED";

/// The seed of this run: that of `CONFORMANCE_SEED`, else a new one. Says it, so that a failure can
/// be repeated as far as the scheduler allows.
///
/// # Panics
/// If the variable is not a number.
#[must_use]
pub fn seed(case: &str) -> u64 {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text:?} is not a number")),
        Err(_) => fastrand::u64(..),
    };
    eprintln!("{case}: {SEED_VARIABLE}={seed}");
    seed
}
