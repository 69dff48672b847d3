//! A command whose life is bound to ours.
//!
//! Only a process itself can ask the kernel for a signal at its parent's death, and nothing may run
//! between fork and exec in safe Rust. So the command begins as this same program (the hidden verb
//! `bound-exec`), asks, and becomes the command by exec. That costs one exec, about 0.4 ms.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, ExitCode},
};

#[cfg(target_os = "linux")]
use anyhow::Context;
use rustix::process::Signal;

use crate::cli::{BoundExecArgs, Orphan};

/// The command that runs `program`, bound as `orphan` says.
pub(crate) fn command(orphan: Orphan, program: &OsStr, arguments: &[OsString]) -> Command {
    let signal = match orphan {
        Orphan::Term if cfg!(target_os = "linux") => Signal::TERM,
        Orphan::Kill if cfg!(target_os = "linux") => Signal::KILL,
        _ => {
            let mut command = Command::new(program);
            command.args(arguments);
            return command;
        }
    };
    // Also right when the file was replaced since we started: it is the program that runs.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["bound-exec", "--parent", &std::process::id().to_string()])
        .args(["--signal", &signal.as_raw().to_string(), "--"])
        .arg(program)
        .args(arguments);
    command
}

/// The verb `bound-exec`: becomes the command.
#[cfg(target_os = "linux")]
pub(crate) fn exec(args: &BoundExecArgs) -> anyhow::Result<ExitCode> {
    use std::os::unix::process::CommandExt;

    use rustix::process::{Pid, getppid, set_parent_process_death_signal};

    use crate::exit::{self, Exit};

    let signal = Signal::from_named_raw(args.signal).context("there is no such signal")?;
    set_parent_process_death_signal(Some(signal)).context("cannot bind the command to this process")?;
    // Whoever died before the line above sent nothing.
    if getppid() != Pid::from_raw(args.parent) {
        return Ok(exit::of_signal(args.signal).into());
    }
    let error = Command::new(&args.command[0]).args(&args.command[1..]).exec();
    let exit = Exit::of_start(&error);
    anstream::eprintln!("locks: cannot run {:?}: {error}", args.command[0]);
    Ok(exit.into())
}

/// Elsewhere nothing starts this verb.
#[cfg(not(target_os = "linux"))]
pub(crate) fn exec(_: &BoundExecArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("only Linux tells a process of its parent's death")
}
