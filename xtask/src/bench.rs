//! `cargo xtask bench`: the benchmarks, with the peers in other languages installed under `target/peers`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    python,
    step::{self, Outcome},
};

/// Runs `locks-bench`. Peers that cannot be installed are left out, which its tables say.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut command = step::cargo(["run", "--release", "-p", "locks-bench", "--"]);
    command.args(arguments);
    let folder = step::root().join("target").join("peers");
    // Only the groups on a server have such peers.
    let groups: Vec<&String> = arguments.windows(2).filter(|pair| pair[0] == "--only").map(|pair| &pair[1]).collect();
    if groups.is_empty() || groups.iter().any(|group| group.starts_with("cluster")) {
        match python_peers(&folder) {
            Ok(python) => _ = command.env("LOCKS_BENCH_PYTHON", python),
            Err(why) => step::skip("peers in Python", &why),
        }
        match node_peers(&folder) {
            Ok(folder) => _ = command.env("LOCKS_BENCH_NODE", folder),
            Err(why) => step::skip("peers in JavaScript", &why),
        }
    }
    step::run("benchmarks", &mut command)
}

/// redis-py with its C parser, and python-redis-lock. Answers the Python that has them.
fn python_peers(folder: &Path) -> Result<PathBuf, String> {
    let python = python::environment_in(&folder.join("python"))?;
    python::pip(&python, &["--requirement", "bench/peers/requirements.txt"])?;
    Ok(python)
}

/// node-redlock with ioredis. Answers the folder with its `node_modules`.
fn node_peers(folder: &Path) -> Result<PathBuf, String> {
    if !step::works(Command::new("npm").arg("--version")) {
        return Err("there is no npm".to_owned());
    }
    let folder = folder.join("node");
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let from = step::root().join("bench").join("peers").join("package.json");
    fs::copy(from, folder.join("package.json")).map_err(|error| format!("cannot copy package.json: {error}"))?;
    step::run("node peers", Command::new("npm").args(["install", "--no-fund", "--no-audit"]).current_dir(&folder))?;
    Ok(folder)
}
