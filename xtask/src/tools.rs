//! What the tasks need beyond the toolchain: looked for, installed where that is possible, else named.

use std::process::Command;

use crate::step::{self, Outcome, cargo};

/// The newest release that builds with the oldest Rust this workspace supports.
const NEXTEST: &str = "0.9.128";
const DENY: &str = "0.20.2";

/// Whether nobody looks on.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// The test runner: one process per test, so that a deadlock in one is found and ended.
pub(crate) fn nextest() -> Outcome {
    if step::works(&mut cargo(["nextest", "--version"])) {
        return Ok(());
    }
    install("cargo-nextest", NEXTEST)
        .map_err(|problem| format!("{problem}\nWithout it: cargo test --workspace (no deadlock guard, less isolation)"))
}

/// The dependency checker. Installing it takes minutes, so it is done only on demand.
/// Answers whether it is there.
pub(crate) fn deny() -> Result<bool, String> {
    if step::works(&mut cargo(["deny", "--version"])) {
        return Ok(true);
    }
    if std::env::var_os("LOCKS_CI_DENY").is_none() {
        return Ok(false);
    }
    install("cargo-deny", DENY).map(|()| true)
}

/// Parts of the toolchain that rustup leaves out of its minimal profile.
pub(crate) fn component(name: &str, probe: &str) -> Outcome {
    if step::works(&mut cargo([probe, "--version"])) {
        return Ok(());
    }
    step::run(&format!("install {name}"), Command::new("rustup").args(["component", "add", name]))
        .map_err(|problem| format!("{problem}\n`cargo {probe}` is missing: install {name} with your Rust toolchain"))
}

/// A program of the system, installed from its Debian package when we may.
pub(crate) fn program(name: &str, probe: &str, package: &str) -> Outcome {
    if step::works(Command::new(name).arg(probe)) {
        return Ok(());
    }
    let missing =
        format!("the tests need `{name}`: install it with your package manager (Debian: apt-get install {package})");
    install_packages(&[package]).map_err(|problem| format!("{problem}\n{missing}"))
}

/// Debian packages, if this is such a system and we may.
pub(crate) fn install_packages(packages: &[&str]) -> Outcome {
    let names = packages.join(" ");
    if !step::works(Command::new("apt-get").arg("--version")) || !root_user() {
        return Err(format!("cannot install {names}: that takes apt-get and root"));
    }
    let apt = |arguments: &[&str]| {
        step::run(
            &format!("install {names}"),
            Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments),
        )
    };
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat())
}

fn install(package: &str, version: &str) -> Outcome {
    let mut command = cargo(["install", "--locked", package, "--version", version]);
    step::run(&format!("install {package} (some minutes)"), &mut command)
}

fn root_user() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
