//! `cargo xtask death`: the full run that kills a process at every instruction of the lock paths.
//! The tests of `concurrent-locks-death` take a sample of the same in minutes.

use crate::step::{self, Outcome, cargo};

/// `arguments` go to the stepper: `--stride N`, `--points N`, names of scenarios.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    // The stepper finds its victim beside itself, and `cargo run` builds one binary only.
    step::run("build", &mut cargo(["build", "--release", "-p", "concurrent-locks-death", "--bins"]))?;
    let mut command = cargo(["run", "--release", "-p", "concurrent-locks-death", "--bin", "death", "--"]);
    step::run("death at every instruction", command.args(arguments))
}
