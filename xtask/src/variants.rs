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
    let suites = ["--test", "local", "--test", "file"];
    portably("portable engines", ["test", "--package", "concurrent-locks-conformance"], &suites)?;
    portably("portable unit tests", ["test", "--package", "concurrent-locks"], &["--lib"])?;
    portably("portable clippy", ["clippy", "--package", "concurrent-locks"], &["--lib", "--", "--deny", "warnings"])
}

fn portably(what: &str, task: [&str; 3], rest: &[&str]) -> Outcome {
    let mut command = cargo(task);
    command.args(["--target-dir", "target/portable"]).args(rest).env("RUSTFLAGS", "--cfg concurrent_locks_portable");
    step::run(what, &mut command)
}
