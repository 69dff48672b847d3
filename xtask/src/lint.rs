//! `cargo xtask lint`: what must hold of the source before anything runs.

use crate::{
    features, layers, python,
    step::{self, Outcome, cargo},
    tools, words,
};

/// Lock file, formatting, layers, words, clippy, documentation, dependencies; the quick ones first.
pub(crate) fn run() -> Outcome {
    tools::component("rustfmt", "fmt")?;
    tools::component("clippy", "clippy")?;
    step::run("lock file", &mut cargo(["fetch", "--quiet", "--locked"]))?;
    step::run("formatting", &mut cargo(["fmt", "--all", "--check"]))?;
    layers::run()?;
    words::run()?;
    step::run("clippy", &mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step::run("documentation", cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    features::run()?;
    dependencies()?;
    python::lint()
}

/// Licences, sources and duplicates by `deny.toml`. Known vulnerabilities need the advisory
/// database from the network, so they are looked up on demand only.
fn dependencies() -> Outcome {
    if !tools::deny()? {
        step::skip("dependencies", "cargo-deny is not installed; LOCKS_CI_DENY=1 installs it (some minutes)");
        return Ok(());
    }
    step::run("dependencies", &mut cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    if std::env::var_os("LOCKS_CI_DENY").is_none() {
        step::skip("advisories", "set LOCKS_CI_DENY=1 to look up known vulnerabilities (needs the network)");
        return Ok(());
    }
    step::run("advisories", &mut cargo(["deny", "check", "advisories"]))
}
