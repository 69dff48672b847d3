//! The Python package: an environment of its own under `target/`, what is checked and built there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    servers,
    step::{self, Outcome},
    tools,
};

/// The oldest Python the package supports, as `python -c` checks it.
const OLD_ENOUGH: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";

/// Installs the package as a user does (`pip install .`) with what its tests need, and runs them.
pub(crate) fn test() -> Outcome {
    let python = installed("test,bench")?;
    step::run("Python tests", run(&python).args(["-m", "pytest", "--quiet"]).envs(servers::environment()?))
}

/// Formatting, style, types, and the stubs against the module itself.
pub(crate) fn lint() -> Outcome {
    let python = installed("test,bench")?;
    let check = |title: &str, arguments: &[&str]| step::run(title, run(&python).arg("-m").args(arguments));
    let folders = ["python", "examples/python", "bench/python", "docs/python"];
    check("ruff format", &[&["ruff", "format", "--check"], &folders[..]].concat())?;
    check("ruff", &[&["ruff", "check"], &folders[..]].concat())?;
    check("mypy", &["mypy"])?;
    check("stubtest", &["mypy.stubtest", "concurrent_locks._core", "--allowlist", "python/stubtest-allow.txt"])?;
    // It is a program for Node.js that fetches itself from the npm registry.
    if !step::works(run(&python).args(["-m", "pyright", "--version"])) {
        step::skip("pyright", "it cannot be started here");
        return Ok(());
    }
    step::run("pyright", run(&python).args(["-m", "pyright", "--pythonpath"]).arg(&python))
}

/// `cargo xtask wheels`: what is uploaded to a package index, in `target/dist`. Each is installed once, which shows
/// that nothing is missing in it.
pub(crate) fn wheels() -> Outcome {
    let python = environment()?;
    pip(&python, &["maturin>=1.9,<2"])?;
    let folder = step::root().join("target").join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
    }
    let build = ["-m", "maturin", "build", "--release", "--locked", "--out", "target/dist"];
    step::run("wheel", run(&python).args(build))?;
    step::run("source distribution", run(&python).args(["-m", "maturin", "sdist", "--out", "target/dist"]))?;
    let built = fs::read_dir(&folder).map_err(|error| format!("cannot look into {}: {error}", folder.display()))?;
    for file in built {
        let file = file.map_err(|error| error.to_string())?.path();
        pip(&python, &["--force-reinstall", "--no-deps", &file.to_string_lossy()])?;
        // Not here, where the sources would be found.
        let import =
            "import concurrent_locks; concurrent_locks.get_lock_manager().write_lock('x').__enter__().release()";
        step::run("import", Command::new(&python).current_dir(&folder).args(["-c", import]))?;
    }
    Ok(())
}

/// `cargo xtask bench-python`: the package against its peers.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let python = installed("bench")?;
    step::run("Python benchmarks", run(&python).arg("bench/python/bench.py").args(arguments))
}

/// The environment's Python, with the package and an extra of it installed.
fn installed(extra: &str) -> Result<PathBuf, String> {
    let python = environment()?;
    pip(&python, &[&format!(".[{extra}]")])?;
    Ok(python)
}

pub(crate) fn pip(python: &Path, what: &[&str]) -> Outcome {
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    step::run("Python packages", run(python).args(arguments).args(what))
}

/// A virtual environment, made if it is not there. Answers its Python.
fn environment() -> Result<PathBuf, String> {
    environment_in(&step::root().join("target").join("python"))
}

/// The same, in a folder of its own.
pub(crate) fn environment_in(folder: &Path) -> Result<PathBuf, String> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !step::works(Command::new(&python).args(["-c", OLD_ENOUGH])) {
        let base = interpreter()?;
        step::run("Python environment", Command::new(base).args(["-m", "venv", "--clear"]).arg(folder))?;
    }
    Ok(python)
}

/// A Python that is new enough and can make environments.
fn interpreter() -> Result<&'static str, String> {
    let fits = |name: &&str| step::works(Command::new(name).args(["-c", OLD_ENOUGH]));
    let names = ["python3", "python3.13", "python3.12", "python3.11"];
    if let Some(name) = names.iter().find(|name| fits(name)) {
        return Ok(name);
    }
    tools::install_packages(&["python3-venv"])
        .map_err(|problem| format!("{problem}\nthe Python package needs Python 3.11 or newer with venv"))?;
    names.iter().find(|name| fits(name)).copied().ok_or_else(|| "no Python 3.11 or newer was found".to_owned())
}

/// The environment's Python, run in the workspace's root.
fn run(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.current_dir(step::root());
    command
}
