//! `locks run`: runs a command while holding locks.
//!
//! One thread does everything in turn: it waits for the locks, starts the command, passes signals
//! on, waits for its end and releases the locks. A second thread only turns signals into messages.
//!
//! # If a lock is lost
//! Locks with a lease can be lost while the command runs. The command is asked to end before that, and
//! stopped if it does not: [`deadline`] has the rule, [`watch`] carries it out, on [`family`].
//!
//! # If `locks run` dies
//! Where the kernel keeps the locks (`host:`, `file:`), it keeps them for the command and everything that it
//! started ([`tree`]): they are held until the last of these processes has ended. A server only knows that
//! nobody renews; there the command is bound to the life of `locks run` (see [`bound`]): it gets SIGTERM
//! in the same moment, which lets git, SQLite and the like remove their own lock files. `--if-killed` chooses.

mod acquire;
pub(crate) mod bound;
mod child;
mod deadline;
mod family;
mod happenings;
mod outer;
mod report;
mod tree;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    io,
    mem::ManuallyDrop,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use concurrent_locks::{Error, ErrorKind, GuardAll, LockManager, MAX_LABEL_BYTES, Mode, Owner};

use crate::{
    cli::{Reenter, RunArgs},
    exit::{self, Code, Exit, UsageError},
    output::Output,
    space,
};
use acquire::Acquired;
use happenings::Happenings;
use outer::Outer;
use report::{Report, Reporter};
use tree::Tree;
use watch::Watch;

pub(crate) fn run(args: &RunArgs, locks: &LockManager, output: &Output) -> anyhow::Result<Code> {
    let reporter = Reporter::open(args.report.as_deref(), output)?;
    let result = run_and_report(args, locks, output, &reporter);
    if let Err(error) = &result {
        reporter.failure(error)?;
    }
    result
}

fn run_and_report(
    args: &RunArgs,
    locks: &LockManager,
    output: &Output,
    reporter: &Reporter<'_>,
) -> anyhow::Result<Code> {
    check(args, locks)?;
    let orphan = tree::orphan(args, locks)?;
    let line = command_line(args)?;
    let outer = Outer::look(locks)?;
    outer.tell_strangers(&args.names, output)?;
    let (owner, turns) = owner(args, &line[0], locks, &outer)?;
    let mode = if args.read { Mode::Read } else { Mode::Write };
    let names: Vec<String> = args.names.iter().chain(&turns).cloned().collect();
    let wanted = names.iter().map(|name| (name.as_str(), mode));
    let request = owner.lock_all(wanted).timeout(args.timeout.0).priority(args.priority).note(&args.note);

    // Never dropped: this process ends soon, and to take its handlers back costs more than the rest of its end.
    let happenings = ManuallyDrop::new(Happenings::listen().context("cannot catch signals")?);
    let asked = Instant::now();
    let acquired = if args.nonblock {
        request.try_now().map(Acquired::Guards)
    } else {
        let mut notice = acquire::Notice::new(locks, &owner, &names, output);
        acquire::acquire(&request, args.timeout.0, &happenings, &mut notice)
    };
    let guards = match acquired {
        Ok(Acquired::Guards(guards)) => guards,
        Ok(Acquired::Interrupted(signal)) => return Ok(exit::of_signal(signal).into()),
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
            let error = error.into();
            if !output.is_quiet() {
                output.failure(&error);
            }
            reporter.failure(&error)?;
            return Ok(args.conflict_exit_code.into());
        }
        Err(error) => return Err(error.into()),
    };
    let waited = asked.elapsed();
    if args.verbose {
        output.notice(format_args!("acquired after {:.3} s", waited.as_secs_f64()));
    }

    let held = held(&guards)?;
    let (names, tokens): (Vec<_>, Vec<_>) = held.iter().filter(|(name, _)| !turns.contains(name)).cloned().unzip();
    let mut command = bound::command(orphan, output, &line[0], &line[1..]);
    command
        .envs(owner.environment())
        .env(outer::NAME_VARIABLE, names.join("\n"))
        .env("LOCKS_TOKEN", tokens.iter().map(u64::to_string).collect::<Vec<_>>().join("\n"));
    let started = Instant::now();
    let tree = Tree::hold(&guards, orphan)?;
    if args.no_fork {
        return Ok(become_command(&mut command, &tree, output).into());
    }
    let mut watch = Watch::new(&guards, &happenings, output);
    let result = child::run(command, &tree, &happenings, &mut watch);
    let ended = watch.has_ended_it();
    let code = match &result {
        Ok(_) if ended => Exit::Ended as u8,
        Ok(status) => exit::of_status(*status),
        Err(error) => say_not_started(&line[0], error, output),
    };
    let held_for = started.elapsed();
    let (code, lost) = match tree.end(guards, result.ok())? {
        Some(guards) => {
            let given = release(guards, &held, code, ended, output)?;
            // What was not waited for above has to arrive before this process ends.
            match locks.detach() {
                // That they end with their lease was reported already.
                Err(_) if ended => {}
                Err(error) => output.warning(format_args!("{error}")),
                Ok(()) => {}
            }
            given
        }
        None => {
            output.notice("the locks stay held until the processes that the command left behind have ended");
            (code, false)
        }
    };
    reporter.report(&Report {
        mode,
        owner: owner.id().to_string(),
        label: owner.label(),
        tokens: names.into_iter().zip(tokens).collect(),
        waited_ms: milliseconds(waited),
        held_ms: milliseconds(held_for),
        lost,
        ended,
        exit_code: code,
    })?;
    Ok(code.into())
}

/// What no parser finds, found before anything is waited for.
fn check(args: &RunArgs, locks: &LockManager) -> Result<(), UsageError> {
    if !locks.capabilities().across_processes {
        return Err(UsageError(format!("{} reaches only one process: its locks would exclude nobody", locks.url())));
    }
    if args.lease.is_some() && !locks.capabilities().lease {
        return Err(space::no_lease(locks.url()));
    }
    // What Linux allows one variable (`MAX_ARG_STRLEN`); a token has 16 digits.
    const MOST: usize = 128 << 10;
    let names: usize = args.names.iter().map(|name| name.len() + 1).sum();
    if names.max(17 * args.names.len()) + "LOCKS_TOKEN=".len() > MOST {
        return Err(UsageError(format!(
            "{} names are too many: LOCKS_NAME and LOCKS_TOKEN, which pass them to CMD, can have {MOST} bytes each",
            args.names.len()
        )));
    }
    Ok(())
}

/// The command and its arguments.
fn command_line(args: &RunArgs) -> Result<Vec<OsString>, UsageError> {
    match (&args.line, args.names.as_slice()) {
        (None, _) => Ok(args.command.clone()),
        (Some(line), [_]) => Ok(["sh".into(), "-c".into(), line.clone()].into()),
        (Some(_), [name, more @ ..]) => Err(UsageError(format!(
            "-c takes one NAME, not {name:?} and {more:?}; to run a command, put `--` before it: locks run NAME... -- CMD"
        ))),
        (Some(_), []) => Err(UsageError("-c needs a NAME".to_owned())),
    }
}

/// The requester: the label that was given, else the owner that a surrounding `locks run` passed down, so
/// that nested runs re-enter what it holds, in turns; else a new one that says which command of which
/// process it is.
fn owner(
    args: &RunArgs,
    program: &OsStr,
    locks: &LockManager,
    outer: &Outer<'_>,
) -> Result<(Owner, Vec<String>), Error> {
    let inherited = outer.owner()?.filter(|owner| args.owner.as_ref().is_none_or(|label| label == owner.label()));
    match (inherited, &args.owner) {
        (Some(owner), _) if args.reenter == Reenter::Turns => Ok((owner.clone(), outer.turns(&args.names)?)),
        (Some(owner), _) => Ok((owner.clone(), Vec::new())),
        (None, Some(label)) => Ok((locks.owner(label)?, Vec::new())),
        (None, None) => Ok((locks.owner(&label(program))?, Vec::new())),
    }
}

/// `program[pid]`, at most as long as a label may be.
fn label(program: &OsStr) -> String {
    let program = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    let pid = format!("[{}]", std::process::id());
    let room = MAX_LABEL_BYTES - pid.len();
    let end = (0..=room.min(program.len())).rev().find(|end| program.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{pid}", &program[..end])
}

/// What is held: each name once, in the order they were taken, with its fencing token.
fn held(guards: &GuardAll) -> Result<Vec<(String, u64)>, Error> {
    guards.iter().map(|guard| Ok((guard.name()?, guard.token()))).collect()
}

/// Becomes the command, whose processes keep the locks; returns only if it cannot.
fn become_command(command: &mut Command, tree: &Tree, output: &Output) -> u8 {
    use std::os::unix::process::CommandExt;
    let error = match tree.descriptors() {
        Ok(_inherited) => command.exec(),
        Err(error) => error,
    };
    say_not_started(command.get_program(), &error, output)
}

/// Says why a command could not be started, and with which exit code that ends.
fn say_not_started(program: &OsStr, error: &io::Error, output: &Output) -> u8 {
    let exit = Exit::of_start(error);
    let is_line = exit == Exit::NotFound && program.to_string_lossy().contains(char::is_whitespace);
    let advice = if is_line { "; to run a line of shell, write: locks run NAME -c 'LINE'" } else { "" };
    output.warning(format_args!("cannot run {program:?}: {error}{advice}"));
    exit as u8
}

/// Releases the locks. A lock that was lost while a command ran makes its success doubtful.
fn release(
    guards: GuardAll,
    held: &[(String, u64)],
    code: u8,
    ended: bool,
    output: &Output,
) -> Result<(u8, bool), Error> {
    let (mut lost, mut failed) = (false, None);
    for (guard, (name, _)) in guards.into_iter().zip(held) {
        match guard.release() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Lost => {
                lost = true;
                // Why it was ended was reported already.
                if !ended {
                    output.warning(format_args!("the lock {name:?} was lost while the command ran: {error}"));
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok((if lost && code == 0 { Exit::Lost as u8 } else { code }, lost)),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
