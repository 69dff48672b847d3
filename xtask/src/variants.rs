//! Builds of the library that ordinary tests do not see, each in a target folder of its own because
//! its flags reach every dependency.

use crate::step::{self, Outcome, cargo};

/// `cargo xtask loom`: the lock-free protocols in every schedule.
pub(crate) fn loom() -> Outcome {
    let mut command = cargo(["test", "--package", "concurrent-locks", "--lib", "--release"]);
    command.args(["--target-dir", "target/loom", "--", "loom_"]).env("RUSTFLAGS", "--cfg loom");
    step::run("loom models", &mut command)
}

/// `cargo xtask portable`: what runs on systems other than Linux, run here.
pub(crate) fn portable() -> Outcome {
    let mut command = cargo(["test", "--package", "concurrent-locks-conformance", "--test", "local", "--test", "file"]);
    command.args(["--target-dir", "target/portable"]).env("RUSTFLAGS", "--cfg concurrent_locks_portable");
    step::run("portable engines", &mut command)
}
