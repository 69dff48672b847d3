//! `locks break`: takes a lock away from its holder.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use anyhow::Context;
use concurrent_locks::{Holder, LockManager};
use serde::Serialize;

use crate::{
    cli::BreakArgs,
    exit::Exit,
    output::Output,
    table::{milliseconds, plain},
};

/// What was done, as JSON has it.
#[derive(Serialize)]
struct Broken<'a> {
    resource_name: &'a str,
    broken: Holder,
}

pub(crate) fn run(args: &BreakArgs, locks: &LockManager, output: &Output) -> anyhow::Result<ExitCode> {
    let status = locks.status(&args.name)?;
    let holders = status.as_ref().map_or(&[][..], |status| &status.holders);
    let Some(holder) = holders.iter().find(|holder| holder.token == args.token) else {
        output.warning(missing(args, holders));
        return Ok(Exit::Negative.into());
    };
    let waiter = status.as_ref().and_then(|status| status.waiters.first());
    let next = waiter.map_or_else(
        || "leaves it free".to_owned(),
        |waiter| format!("hands it to {}, who waits first", plain(&waiter.label)),
    );
    // Who holds a lease is told, and `locks run` ends its command then.
    let learns =
        if locks.capabilities().lease { "is told at once" } else { "learns of it only when it gives the lock back" };
    output.notice(format_args!(
        "this takes {:?} from {} and {next}; {} is not stopped and {learns}",
        args.name,
        who(holder),
        plain(&holder.label)
    ));
    if !args.yes && !confirmed(output)? {
        output.warning("nothing was broken");
        return Ok(Exit::Usage.into());
    }
    let broken = locks.break_lock(&args.name, args.token)?;
    if output.json() {
        output.object(&Broken { resource_name: &args.name, broken })?;
    } else {
        output.text(format_args!("broken: {:?}, held by {}", args.name, who(&broken)))?;
    }
    Ok(Exit::Success.into())
}

/// Asks a person; without one, says how to do without the question.
fn confirmed(output: &Output) -> anyhow::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        output.warning("there is no terminal to ask on: say --yes");
        return Ok(false);
    }
    output.warning("break it? [y/N]");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("no answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn missing(args: &BreakArgs, holders: &[Holder]) -> String {
    let held: Vec<_> = holders.iter().map(who).collect();
    let held =
        if held.is_empty() { "nobody holds it".to_owned() } else { format!("it is held by {}", held.join(", ")) };
    format!("nobody holds {:?} with token {}: {held}", args.name, args.token)
}

fn who(holder: &Holder) -> String {
    let Holder { label, pid, host, mode, token, held_ms, .. } = holder;
    format!("{} (pid {pid} on {host}, {mode}, token {token}, for {})", plain(label), milliseconds(*held_ms))
}
