//! `locks break`: takes a lock from its holder.

use std::io::{self, IsTerminal};

use anyhow::Context;
use concurrent_locks::Holder;
use serde::Serialize;

use crate::{
    cli::{BreakArgs, Global},
    exit::{Code, Exit, UsageError},
    output::Output,
    space,
    table::{duration, plain},
};

/// What was done, as JSON has it.
#[derive(Serialize)]
struct Broken<'a> {
    resource_name: &'a str,
    broken: Holder,
}

pub(crate) fn run(args: &BreakArgs, global: &Global, output: &Output) -> anyhow::Result<Code> {
    // Where nobody holds anything, nothing is made either.
    let status = space::observe(global)?.status(&args.name).blocking()?;
    let holders = status.as_ref().map_or(&[][..], |status| &status.holders);
    let Some(token) = args.token else { return Err(UsageError(which(&args.name, holders)).into()) };
    let Some(holder) = holders.iter().find(|holder| holder.token == token) else {
        output.warning(missing(&args.name, token, holders));
        return Ok(Exit::Negative.into());
    };
    let locks = space::open(global)?;
    let waiter = status.as_ref().and_then(|status| status.waiters.first());
    let next = waiter.map_or_else(
        || "leaves it free".to_owned(),
        |waiter| format!("hands it to {}, the next waiter", plain(&waiter.label)),
    );
    // A holder with a lease is notified, and `locks run` ends its command then.
    let learns = if locks.capabilities().lease { "is notified at once" } else { "learns of it only at release" };
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
    let broken = locks.break_lock(&args.name, token).blocking()?;
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
        output.warning("there is no terminal to confirm on: use --yes");
        return Ok(false);
    }
    output.warning("break it? [y/N]");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("no answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What to say where no grant was named.
fn which(name: &str, holders: &[Holder]) -> String {
    match holders {
        [] => format!("nobody holds {name:?}: there is nothing to break"),
        [holder] => {
            format!("name the grant of {name:?} to break: --token {} is that of {}", holder.token, who(holder))
        }
        _ => format!("name the grant of {name:?} to break by its --token: {}", list(holders)),
    }
}

fn missing(name: &str, token: u64, holders: &[Holder]) -> String {
    match holders {
        [] => {
            format!("nobody holds {name:?}, neither with token {token} nor another; `locks status` shows all holders")
        }
        _ => format!("nobody holds {name:?} with token {token}: it is held by {}", list(holders)),
    }
}

fn list(holders: &[Holder]) -> String {
    holders.iter().map(who).collect::<Vec<_>>().join(", ")
}

fn who(holder: &Holder) -> String {
    let Holder { label, pid, host, mode, token, held, .. } = holder;
    format!("{} (pid {pid} on {host}, {mode}, token {token}, for {})", plain(label), duration(*held))
}
