//! Steps: commands that are announced, run in the workspace's root, and must succeed.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// What went wrong, for the person who ran the task.
pub(crate) type Outcome = Result<(), String>;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The cargo that runs this task, in the workspace's root.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Announces and runs one step.
pub(crate) fn run(title: &str, command: &mut Command) -> Outcome {
    announce(title, command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{title}: {} ended with {status}", shown(command))),
        Err(error) => Err(format!("{title}: cannot run {}: {error}", shown(command))),
    }
}

/// Whether a probe such as `git --version` succeeds; its output is not shown.
pub(crate) fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Says on standard error that a step is left out, and why. Never silent.
pub(crate) fn skip(title: &str, why: &str) {
    eprintln!("\n== {title}: SKIPPED: {why}");
}

fn announce(title: &str, command: &Command) {
    eprintln!("\n== {title}: {}", shown(command));
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
