//! `cargo xtask features`: the sets of features that people use, each compiled alone, and what the default costs.

use std::collections::BTreeSet;

use crate::step::{self, Outcome, cargo};

/// Beside the default and `full`, which all other tasks build.
const SETS: [&[&str]; 5] = [
    &["--no-default-features"],
    &[],
    &["--features", "serde,stream"],
    &["--features", "redis"],
    &["--features", "postgres,tls"],
];

/// Who uses `local:`, `host:` and `file:` alone compiles no more than these.
const PACKAGES: usize = 15;
/// And none of these, which need a C compiler or speak to a server.
const NOT_BY_DEFAULT: [&str; 5] = ["cc", "ring", "rustls", "postgres-protocol", "serde_json"];

pub(crate) fn run() -> Outcome {
    for set in SETS {
        let mut clippy = cargo(["clippy", "--package", "concurrent-locks", "--lib"]);
        clippy.args(set).args(["--", "--deny", "warnings"]);
        step::run(&format!("features: {}", if set.is_empty() { "default" } else { set[set.len() - 1] }), &mut clippy)?;
    }
    let packages = packages()?;
    eprintln!("\n== features: the default compiles {} packages", packages.len());
    if let Some(unwanted) = NOT_BY_DEFAULT.iter().find(|unwanted| packages.contains(**unwanted)) {
        return Err(format!("features: the default must not compile {unwanted}"));
    }
    if packages.len() > PACKAGES {
        return Err(format!("features: the default compiles more than {PACKAGES} packages: {packages:?}"));
    }
    Ok(())
}

/// What a user of the default compiles, procedural macros included.
fn packages() -> Result<BTreeSet<String>, String> {
    let mut tree = cargo(["tree", "--package", "concurrent-locks", "--edges", "normal,build", "--prefix", "none"]);
    let output = tree.args(["--format", "{p}"]).output().map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}
