//! `locks status`: who holds and who waits.

use std::process::ExitCode;

use concurrent_locks::{LockManager, Status, StatusMap};
use owo_colors::Style;

use crate::{
    cli::StatusArgs,
    exit::Exit,
    output::Output,
    table::{Cell, Table, plain},
};

pub(crate) fn run(args: &StatusArgs, locks: &LockManager, output: &Output) -> anyhow::Result<ExitCode> {
    let status = match &args.name {
        Some(name) => locks.status(name)?.map(|status| (name.clone(), status)).into_iter().collect(),
        None => locks.status_all()?,
    };
    if output.json() {
        output.object(&status)?;
    } else {
        output.text(describe(args, &status))?;
    }
    Ok(Exit::Success.into())
}

fn describe(args: &StatusArgs, status: &StatusMap) -> String {
    let mut table = Table::new(["LOCK", "STATE", "OWNER", "PROCESS", "MODE", "FOR", "TOKEN", "PRIORITY", "NOTE"]);
    let mut idle = 0;
    for status in status.values() {
        let is_idle = status.holders.is_empty() && status.waiters.is_empty();
        if is_idle && args.name.is_none() && !args.all {
            idle += 1;
        } else if is_idle {
            table.row([Cell::text(&status.resource_name), Cell::text("free").style(Style::new().dimmed())]);
        } else {
            busy(&mut table, status);
        }
    }
    match (&args.name, table.is_empty(), idle) {
        (Some(name), true, _) => format!("{}: free, and not used yet", plain(name)),
        (None, true, 0) => "no locks".to_owned(),
        (None, true, idle) => format!("nobody holds or waits for a lock; {idle} free (--all lists them)"),
        (_, false, 0) => table.to_string(),
        (_, false, idle) => format!("{table}\n{idle} more free (--all lists them)"),
    }
}

fn busy(table: &mut Table, status: &Status) {
    for holder in &status.holders {
        table.row([
            Cell::text(&status.resource_name),
            Cell::text("held").style(Style::new().green()),
            Cell::text(&holder.label),
            Cell::text(format!("{}@{}", holder.pid, holder.host)),
            Cell::text(holder.mode.as_str()),
            Cell::milliseconds(holder.held_ms),
            Cell::number(holder.token),
            Cell::number(holder.priority),
            Cell::text(&holder.note),
        ]);
    }
    for (index, waiter) in status.waiters.iter().enumerate() {
        table.row([
            Cell::text(&status.resource_name),
            Cell::text(format!("waits, {}.", index + 1)).style(Style::new().yellow()),
            Cell::text(&waiter.label),
            Cell::text(format!("{}@{}", waiter.pid, waiter.host)),
            Cell::text(waiter.mode.as_str()),
            Cell::milliseconds(waiter.waited_ms),
            Cell::number("-"),
            Cell::number(waiter.priority),
            Cell::text(&waiter.note),
        ]);
    }
}
