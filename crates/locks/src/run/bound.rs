//! A command whose life is bound to ours (`--if-killed term` and `kill`).
//!
//! Only a process itself can ask the kernel for a signal at its parent's death, and nothing may run
//! between fork and exec in safe Rust. So the command begins as this same program, started as
//! `locks bound-exec PARENT SIGNAL FORMAT PROGRAM ARGUMENTS...`, asks, and becomes the command by exec. That
//! costs one more exec of this program; the line is read by hand, because clap would add to it.

use std::{
    ffi::{OsStr, OsString},
    process::Command,
};

use rustix::process::Signal;

use crate::{cli::Orphan, exit::Code, output::Output};

/// The first argument of a start by [`command`]. No verb of `locks`: people have no use for it.
const BOUND: &str = "bound-exec";

/// The command that runs `program`, bound as `orphan` says.
pub(crate) fn command(orphan: Orphan, output: &Output, program: &OsStr, arguments: &[OsString]) -> Command {
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
    let format = if output.json() { JSON } else { "text" };
    command.args([BOUND, &std::process::id().to_string(), &signal.as_raw().to_string(), format]);
    command.arg(program).args(arguments);
    command
}

/// The format of the message if the program cannot be run.
const JSON: &str = "json";

/// A start by [`command`].
pub(crate) struct Bound {
    parent: i32,
    signal: Signal,
    output: Output,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Bound {
    /// What such a start asks for; `None` of any other start.
    pub(crate) fn asked(arguments: impl IntoIterator<Item = OsString>) -> Option<Bound> {
        let mut arguments = arguments.into_iter().skip(1);
        arguments.next().filter(|first| first == BOUND)?;
        let mut number = || arguments.next()?.to_str()?.parse().ok();
        let (parent, signal) = (number()?, Signal::from_named_raw(number()?)?);
        let output = Output::new(arguments.next()? == JSON, false);
        Some(Bound { parent, signal, output, program: arguments.next()?, arguments: arguments.collect() })
    }

    /// Becomes the command; returns only if it cannot.
    #[cfg(target_os = "linux")]
    pub(crate) fn exec(&self) -> Code {
        use std::os::unix::process::CommandExt;

        use rustix::process::{Pid, getppid, set_parent_process_death_signal};

        use crate::exit::{self, Exit};

        if let Err(error) = set_parent_process_death_signal(Some(self.signal)) {
            self.output.warning(format_args!("cannot bind the command to this process: {error}"));
            return Exit::Io.into();
        }
        // Whoever died before the line above sent nothing.
        if getppid() != Pid::from_raw(self.parent) {
            return exit::of_signal(self.signal.as_raw()).into();
        }
        let error = Command::new(&self.program).args(&self.arguments).exec();
        super::say_not_started(&self.program, &error, &self.output);
        Exit::of_start(&error).into()
    }

    /// Elsewhere nothing starts us so.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn exec(&self) -> Code {
        self.output.warning("only Linux notifies a process of its parent's death");
        crate::exit::Exit::Usage.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &[&str]) -> Option<Bound> {
        Bound::asked(line.iter().map(OsString::from))
    }

    #[test]
    fn only_its_own_line_is_taken_for_it() {
        let bound = asked(&["locks", BOUND, "17", "15", "text", "git", "--", "-x"]).unwrap();
        assert_eq!((bound.parent, bound.signal), (17, Signal::TERM));
        assert_eq!((bound.program, bound.arguments), ("git".into(), vec!["--".into(), "-x".into()]));
        let others: [&[&str]; 6] = [
            &["locks"],
            &["locks", BOUND],
            &["locks", BOUND, "17", "15", "json"],
            &["locks", BOUND, "17", "99", "text", "git"],
            &["locks", "run", "a"],
            &[BOUND, "17", "15", "text", "git"],
        ];
        assert!(others.iter().all(|line| asked(line).is_none()));
    }
}
