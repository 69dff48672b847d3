//! `locks deadlocks`: current cycles, suspiciously long waits, contradictory lock orders.

use concurrent_locks::{DeadlockReport, LockManager};

use crate::{
    cli::DeadlocksArgs,
    exit::{Code, Exit},
    output::Output,
    table::{Cell, Table, plain},
};

pub(crate) fn run(args: &DeadlocksArgs, locks: &LockManager, output: &Output) -> anyhow::Result<Code> {
    let settings = locks.settings().suspect_after(args.suspect_after);
    let report = locks.clone().with_settings(settings).deadlocks().blocking()?;
    if output.json() {
        output.object(&report)?;
    } else {
        output.text(describe(&report))?;
    }
    locks.unseen().iter().for_each(|unseen| output.warning(unseen));
    Ok(Exit::Success.into())
}

fn describe(report: &DeadlockReport) -> String {
    let mut parts = Vec::new();
    if report.cycles.is_empty() {
        parts.push(format!("no deadlock now; {} broken so far", report.broken));
    } else {
        parts.push(format!("current deadlocks: {}; {} broken so far", report.cycles.len(), report.broken));
        parts.extend(report.cycles.iter().map(|cycle| format!("  {}", plain(&cycle.to_string()))));
    }
    if !report.suspects.is_empty() {
        parts.push("\nsuspiciously long waits:".to_owned());
        let mut table = Table::new(["LOCK", "WAITING", "MODE", "FOR", "WRITER", "READERS"])
            .shrinks(&["READERS", "WRITER", "WAITING", "LOCK"]);
        for suspect in &report.suspects {
            table.row([
                Cell::text(&suspect.resource),
                Cell::text(&suspect.requester),
                Cell::text(suspect.mode.as_str()),
                Cell::time(suspect.waited),
                Cell::text(suspect.current_writer.as_deref().unwrap_or_default()),
                Cell::text(suspect.current_readers.join(", ")),
            ]);
        }
        parts.push(table.to_string());
    }
    if !report.inversions.is_empty() {
        parts.push("\nlocks taken in both orders (a deadlock that has not happened yet):".to_owned());
        parts.extend(report.inversions.iter().map(|inversion| {
            plain(&format!(
                "  {:?} then {:?} by {}, in the other order by {}",
                inversion.first, inversion.second, inversion.first_then_second, inversion.second_then_first
            ))
        }));
    }
    parts.join("\n")
}
