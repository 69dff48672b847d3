//! Builds of the library that ordinary tests do not see.

use std::{
    env,
    process::{Command, ExitCode},
};

use crate::{
    step::{self, Outcome, cargo},
    tools,
};

/// The `cfg` with which this program, in the place of the compiler, compiles the workspace's crates.
const CFG_VARIABLE: &str = "LOCKS_XTASK_CFG";

/// `cargo xtask loom`: the lock-free protocols in every schedule.
pub(crate) fn loom() -> Outcome {
    let mut command = cargo(["test", "--package", "concurrent-locks", "--lib", "--release"]);
    command.args(["--target-dir", "target/loom", "--", "loom_"]).env("RUSTFLAGS", "--cfg loom");
    step::run("loom models", &mut command)
}

/// `cargo xtask portable`: what runs on systems other than Linux, run here.
pub(crate) fn portable() -> Outcome {
    tools::nextest()?;
    portably("portable engines", "concurrent-locks-conformance", &["--test", "local", "--test", "file"])?;
    portably("portable unit tests", "concurrent-locks", &["--lib"])?;
    // Clippy stands where our compiler would: here the flag reaches every dependency.
    let mut clippy = cargo(["clippy", "--package", "concurrent-locks", "--target-dir", "target/portable", "--lib"]);
    clippy.args(["--", "--deny", "warnings"]).env("RUSTFLAGS", "--cfg concurrent_locks_portable");
    step::run("portable clippy", &mut clippy)
}

/// The dependencies are those of ordinary tests: cargo keeps what a wrapper compiles apart by itself.
fn portably(what: &str, package: &str, rest: &[&str]) -> Outcome {
    let wrapper = env::current_exe().map_err(|error| format!("{what}: no path of this program: {error}"))?;
    let mut command = cargo(["nextest", "run", "--no-fail-fast", "--package", package]);
    command.args(rest).env("RUSTC_WORKSPACE_WRAPPER", wrapper).env(CFG_VARIABLE, "concurrent_locks_portable");
    step::run(what, &mut command)
}

/// Compiles, if cargo runs this program as the wrapper of the compiler.
pub(crate) fn compile() -> Option<ExitCode> {
    let cfg = env::var_os(CFG_VARIABLE)?;
    let mut arguments = env::args_os().skip(1);
    let status = Command::new(arguments.next()?).args(arguments).arg("--cfg").arg(cfg).status();
    Some(match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: cannot run the compiler: {error}");
            ExitCode::FAILURE
        }
    })
}
