//! Proof by killing: at whatever instruction of a lock operation a process dies, the others continue.
//!
//! - [`scenario`]: the operations, and the concurrent operations of others.
//! - [`stepper`]: a child process that is run one instruction at a time.
//! - [`stopped`]: a process that cleans up is stopped instead of killed.
//! - [`run`]: kills a victim after 1, 1 + stride, ... instructions of an operation, and looks each time.
//! - [`chaos`] and [`worker`]: many processes at once, killed at random, that check each other's [`claims`].
//! - [`hostile`]: a table of hostile bytes is opened and used.
//!
//! The tests take a sample of the instructions; all of them are for
//! `cargo run --release -p concurrent-locks-death --bin death -- --stride 1`.
#![cfg(target_os = "linux")]

pub mod chaos;
pub mod claims;
pub mod hostile;
pub mod run;
pub mod scenario;
pub mod stepper;
pub mod stopped;
pub mod worker;

/// What goes wrong, described for a person.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
