//! `locks run`: runs a command while holding locks.
//!
//! One thread does everything in turn: it waits for the locks, starts the command, passes signals
//! on, waits for its end and gives the locks back. A second thread only turns signals into messages.
//!
//! # If a lock is lost
//! Locks with a lease can be lost while the command runs. The command is told to end before that, and
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
mod tree;
mod watch;

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use concurrent_locks::{Error, ErrorKind, GuardAll, LockManager, MAX_LABEL_BYTES, Mode, Owner};
use serde::Serialize;

use crate::{
    cli::RunArgs,
    exit::{self, Exit, UsageError},
    output::Output,
    space,
};
use acquire::Acquired;
use happenings::Happenings;
use tree::Tree;
use watch::Watch;

/// How it went, for `--json`.
#[derive(Serialize)]
struct Report<'a> {
    mode: Mode,
    owner: String,
    label: &'a str,
    tokens: BTreeMap<String, u64>,
    waited_ms: f64,
    held_ms: f64,
    lost: bool,
    /// Whether the command was told to end because its locks did.
    ended: bool,
    exit_code: u8,
}

pub(crate) fn run(args: &RunArgs, locks: &LockManager, output: &Output) -> anyhow::Result<ExitCode> {
    if !locks.capabilities().across_processes {
        let reason = format!("{} reaches only one process: its locks keep nobody out", locks.url());
        return Err(UsageError(reason).into());
    }
    if args.lease.is_some() && !locks.capabilities().lease {
        return Err(space::no_lease(locks.url()).into());
    }
    let orphan = tree::orphan(args.if_killed, locks)?;
    let owner = owner(args, locks)?;
    let mode = if args.read { Mode::Read } else { Mode::Write };
    let wanted = args.names.iter().map(|name| (name.as_str(), mode));
    let request = owner.lock_all(wanted).timeout(args.timeout.0).priority(args.priority).note(&args.note);

    let happenings = Happenings::listen().context("cannot listen to signals")?;
    let asked = Instant::now();
    let acquired = if args.nonblock {
        request.try_now().map(Acquired::Guards)
    } else {
        let mut notice = acquire::Notice::new(locks, &owner, &args.names, output);
        acquire::acquire(request, &happenings, &mut notice)
    };
    let guards = match acquired {
        Ok(Acquired::Guards(guards)) => guards,
        Ok(Acquired::Interrupted(signal)) => return Ok(exit::of_signal(signal).into()),
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
            output.failure(&error.into());
            return Ok(args.conflict_exit_code.into());
        }
        Err(error) => return Err(error.into()),
    };
    let waited = asked.elapsed();

    let (names, tokens) = held(&guards)?;
    let mut command = bound::command(orphan, &args.command[0], &args.command[1..]);
    command
        .envs(owner.environment())
        .env("LOCKS_NAME", names.join("\n"))
        .env("LOCKS_TOKEN", tokens.iter().map(u64::to_string).collect::<Vec<_>>().join("\n"));
    let started = Instant::now();
    let tree = Tree::hold(&guards, orphan)?;
    let mut watch = Watch::new(&guards, &happenings, output);
    let result = child::run(command, &tree, &happenings, &mut watch);
    let (held, ended) = (started.elapsed(), watch.has_ended_it());
    let code = match &result {
        Ok(_) if ended => Exit::Ended as u8,
        Ok(status) => exit::of_status(*status),
        Err(error) => {
            output.warning(format_args!("cannot run {:?}: {error}", args.command[0]));
            Exit::of_start(error) as u8
        }
    };
    let (code, lost) = match tree.end(guards, result.ok())? {
        Some(guards) => give_back(guards, code, ended, output)?,
        None => {
            output.notice("the locks stay held until the processes that the command has left behind have ended");
            (code, false)
        }
    };
    if output.json() {
        output.say_object(&Report {
            mode,
            owner: owner.id(),
            label: owner.label(),
            tokens: names.into_iter().zip(tokens).collect(),
            waited_ms: milliseconds(waited),
            held_ms: milliseconds(held),
            lost,
            ended,
            exit_code: code,
        });
    }
    Ok(code.into())
}

/// Who asks: the label that was given, else the owner that a surrounding `locks run` passed down, so
/// that nested runs re-enter what it holds; else a new one that says which command of which process it is.
fn owner(args: &RunArgs, locks: &LockManager) -> Result<Owner, Error> {
    let inherited = locks.inherited_owner()?;
    match (&args.owner, inherited) {
        (None, Some(inherited)) => Ok(inherited),
        (Some(label), Some(inherited)) if inherited.label() == label => Ok(inherited),
        (Some(label), _) => locks.owner(label),
        (None, None) => locks.owner(&label(args)),
    }
}

/// `program[pid]`, at most as long as a label may be.
fn label(args: &RunArgs) -> String {
    let program = Path::new(&args.command[0]).file_name().unwrap_or(&args.command[0]).to_string_lossy();
    let pid = format!("[{}]", std::process::id());
    let room = MAX_LABEL_BYTES - pid.len();
    let end = (0..=room.min(program.len())).rev().find(|end| program.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{pid}", &program[..end])
}

/// The names that are held, each once, in the order they were taken, and their fencing tokens.
fn held(guards: &GuardAll) -> Result<(Vec<String>, Vec<u64>), Error> {
    guards
        .iter()
        .map(|guard| Ok((guard.name()?, guard.token())))
        .collect::<Result<Vec<_>, _>>()
        .map(|held| held.into_iter().unzip())
}

/// Gives the locks back. A lock that was lost while a command ran makes its success doubtful.
fn give_back(guards: GuardAll, code: u8, ended: bool, output: &Output) -> Result<(u8, bool), Error> {
    match guards.release() {
        Ok(()) => Ok((code, false)),
        // Why it was ended was said already.
        Err(error) if ended => Ok((code, error.kind() == ErrorKind::Lost)),
        Err(error) if error.kind() == ErrorKind::Lost => {
            output.warning(format_args!("the command was not alone: {error}"));
            Ok((if code == 0 { Exit::Lost as u8 } else { code }, true))
        }
        Err(error) => Err(error),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
