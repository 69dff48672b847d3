//! The command line: `locks run NAME -- true` against `flock FILE true`.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use super::folder;
use crate::{
    measure::{Contender, Plan, rounds},
    peers::url,
    report::{Aim, Table},
};

const FLOCK: &str = "flock FILE true";
const LOCKS: &str = "locks run NAME -- true";

pub(crate) fn command(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let folder = folder()?;
    let program = locks()?;
    let times = if plan.quick { 20 } else { 50 };
    let file = folder.path().join("file.lock");
    let contenders = vec![
        Contender::new("true", || run(times, || Command::new("true"))),
        Contender::new(FLOCK, || {
            run(times, || {
                let mut command = Command::new("flock");
                command.arg(&file).arg("true");
                command
            })
        }),
        Contender::new(LOCKS, || {
            run(times, || {
                let mut command = Command::new(&program);
                command.args(["run", "bench", "--", "true"]).env("CONCURRENT_LOCKS_URL", url(folder.path()));
                command
            })
        }),
    ];
    let table = Table::new(
        "A command under a lock that nobody else wants: ms from start to end",
        "Start of the shell tool, lock, start and end of `true`, unlock.",
        &["time"],
        FLOCK,
        rounds(plan, contenders)?,
    );
    let aims = vec![Aim::at_most("locks run NAME -- true / flock FILE true", 1.5, "x", table.ratio(LOCKS, FLOCK, 0))];
    Ok((table, aims))
}

/// Milliseconds per run of a command that must succeed.
fn run(times: usize, command: impl Fn() -> Command) -> Result<Vec<f64>> {
    let start = Instant::now();
    for _ in 0..times {
        let mut command = command();
        let status = command.stdin(Stdio::null()).status().with_context(|| format!("running {command:?}"))?;
        ensure!(status.success(), "{command:?} ended with {status}");
    }
    Ok(vec![start.elapsed().as_secs_f64() * 1e3 / times as f64])
}

/// The `locks` command beside this program, built first where `cargo run` told us of a cargo.
pub(super) fn locks() -> Result<PathBuf> {
    let program = env::current_exe()?.with_file_name("locks");
    if let Some(cargo) = env::var_os("CARGO") {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
        let status = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--package", "locks", "--manifest-path"])
            .arg(manifest)
            .status()?;
        ensure!(status.success(), "`cargo build --release --package locks` failed");
    }
    if !program.is_file() {
        bail!("{} is missing; build it with `cargo build --release --package locks`", program.display());
    }
    Ok(program)
}
