//! `locks doctor`: the state of the engine itself.

use std::process::ExitCode;

use concurrent_locks::{Health, LockManager, Usage};
use owo_colors::{OwoColorize, Style};

use crate::{
    exit::Exit,
    output::Output,
    table::{Cell, Table, plain},
};

pub(crate) fn run(locks: &LockManager, output: &Output) -> anyhow::Result<ExitCode> {
    let health = locks.health()?;
    if output.json() {
        output.object(&health)?;
    } else {
        output.text(describe(&health))?;
    }
    Ok(if health.problems.is_empty() { Exit::Success } else { Exit::Negative }.into())
}

fn describe(health: &Health) -> String {
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), plain);
    let usage = [("locks", health.resources), ("requests", health.requests), ("processes", health.processes)];
    let mut facts = Table::new(["WHAT", "VALUE"]);
    let mut fact = |what: &str, value: String| facts.row([Cell::text(what), Cell::text(value)]);
    fact("url", health.url.clone());
    fact("path", optional(&health.path));
    fact("permissions", optional(&health.permissions));
    if let Some(place) = &health.place {
        let mounts = place.mount_namespace.map_or_else(|| "?".to_owned(), |number| number.to_string());
        fact("file", format!("device {}, inode {}, seen from mount namespace {mounts}", place.device, place.inode));
        if !place.announced_in.is_empty() {
            fact("announced in", plain(&place.announced_in.join(", ")));
        }
    }
    fact("layout", health.layout.to_string());
    for (what, usage) in usage {
        fact(what, describe_usage(usage));
    }
    fact("dead processes cleaned up", health.reaped.to_string());
    fact("buckets rebuilt", health.rebuilds.to_string());
    fact("damage repaired", health.corrupt.to_string());
    fact("idle locks evicted", health.evicted.to_string());
    fact("deadlocks broken", health.deadlocks.to_string());

    let mut processes = Table::new(["PROCESS", "PROGRAM", "STATE", "REQUESTS"]);
    for process in &health.attached {
        let (state, style) = if process.alive { ("alive", Style::new()) } else { ("dead", Style::new().red()) };
        processes.row([
            Cell::text(format!("{}@{}", process.pid, process.host)),
            Cell::text(&process.program),
            Cell::text(state).style(style),
            Cell::number(process.requests),
        ]);
    }

    let mut parts = vec![facts.to_string(), String::new(), processes.to_string(), String::new()];
    if health.problems.is_empty() {
        parts.push("all is well".green().to_string());
    }
    parts.extend(health.problems.iter().map(|problem| format!("{} {}", "problem:".red(), plain(problem))));
    parts.join("\n")
}

/// How much of it is used; files and servers have no capacity of their own.
fn describe_usage(usage: Usage) -> String {
    if usage.capacity == u64::MAX { usage.used.to_string() } else { format!("{} of {}", usage.used, usage.capacity) }
}
