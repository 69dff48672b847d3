//! `locks doctor`: the state of the engine itself.

use concurrent_locks::{Health, LockManager, Process, ProcessState, Usage};
use owo_colors::{OwoColorize, Style};

use crate::{
    cli::DoctorArgs,
    exit::{Code, Exit},
    output::Output,
    table::{Cell, Table, plain},
};

/// So many processes are listed, if there are more.
const LISTED: usize = 10;

pub(crate) fn run(args: &DoctorArgs, locks: &LockManager, output: &Output) -> anyhow::Result<Code> {
    let health = locks.health().blocking()?;
    if output.json() {
        output.object(&health)?;
    } else {
        output.text(describe(args, &health, locks.absence()))?;
    }
    // What a table does not show is among its problems; elsewhere it is none.
    let unseen = locks.unseen().into_iter().filter(|unseen| !health.problems.contains(unseen));
    unseen.for_each(|unseen| output.warning(unseen));
    Ok(if health.problems.is_empty() { Exit::Success } else { Exit::Negative }.into())
}

fn describe(args: &DoctorArgs, health: &Health, absence: Option<String>) -> String {
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), plain);
    let usage = [("locks", health.resources), ("requests", health.requests), ("processes", health.processes)];
    let mut facts = Table::new(["WHAT", "VALUE"]);
    let mut fact = |what: &str, value: String| facts.row([Cell::text(what), Cell::text(value)]);
    fact("url", health.url.clone());
    fact("path", optional(&health.path));
    if let Some(absence) = absence {
        return format!("{facts}\n\n{}", plain(&absence));
    }
    let mut fact = |what: &str, value: String| facts.row([Cell::text(what), Cell::text(value)]);
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

    let mut processes = Table::new(["PROCESS", "PROGRAM", "STATE", "REQUESTS"]).shrinks(&["PROGRAM", "PROCESS"]);
    // The dead first, then those with the most requests.
    let mut attached: Vec<&Process> = health.attached.iter().collect();
    attached.sort_by_key(|process| (process.alive, std::cmp::Reverse(process.requests)));
    let listed = if args.all { attached.len() } else { LISTED.min(attached.len()) };
    for process in &attached[..listed] {
        let (state, style) = match process.state {
            ProcessState::Orphaned => ("ended, its command runs", Style::new().yellow()),
            _ if process.alive => ("alive", Style::new()),
            _ => ("dead", Style::new().red()),
        };
        processes.row([
            Cell::text(format!("{}@{}", process.pid, process.host)),
            Cell::text(&process.program),
            Cell::text(state).style(style),
            Cell::number(process.requests),
        ]);
    }

    let mut parts = vec![facts.to_string(), String::new()];
    if listed > 0 {
        parts.push(processes.to_string());
    }
    match attached.len() - listed {
        0 => {}
        more => parts.push(format!("... and {more} more (--all lists them)")),
    }
    parts.push(String::new());
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
