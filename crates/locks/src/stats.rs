//! `locks stats`: how often and how long locks were waited for and held.

use std::{collections::BTreeMap, process::ExitCode};

use concurrent_locks::{LockManager, Mode, Statistics};
use serde::Serialize;

use crate::{
    cli::StatsArgs,
    exit::Exit,
    output::Output,
    table::{Cell, Table, milliseconds, plain},
};

/// The statistics of one lock, as JSON has them.
#[derive(Serialize)]
struct One<'a> {
    resource_name: &'a str,
    locks: &'a BTreeMap<Mode, Statistics>,
}

pub(crate) fn run(args: &StatsArgs, locks: &LockManager, output: &Output) -> anyhow::Result<ExitCode> {
    match &args.name {
        Some(name) => {
            let modes = locks.statistics(name)?;
            match (output.json(), modes.is_empty()) {
                (true, true) => output.object(&BTreeMap::<Mode, Statistics>::new())?,
                (true, false) => output.object(&One { resource_name: name, locks: &modes })?,
                (false, true) => output.text(format_args!("{}: not used yet", plain(name)))?,
                (false, false) => output.text(describe([&modes]))?,
            }
        }
        None => {
            let all = locks.statistics_all()?;
            match (output.json(), all.is_empty()) {
                (true, _) => output.object(&all)?,
                (false, true) => output.text("no locks")?,
                (false, false) => output.text(describe(all.values()))?,
            }
        }
    }
    if args.reset {
        locks.reset_statistics(args.name.as_deref())?;
    }
    Ok(Exit::Success.into())
}

fn describe<'a>(locks: impl IntoIterator<Item = &'a BTreeMap<Mode, Statistics>>) -> Table {
    let mut table = Table::new([
        "LOCK",
        "MODE",
        "ACQUIRED",
        "TIMEOUTS",
        "ERRORS",
        "DEADLOCKS",
        "WAIT avg / p99 / max",
        "HOLD avg / p99 / max",
        "HOLDERS",
        "WAITERS",
    ]);
    for (mode, of) in locks.into_iter().flatten() {
        table.row([
            Cell::text(&of.resource_name),
            Cell::text(mode.as_str()),
            Cell::number(of.total_acquisitions),
            Cell::number(of.total_timeouts),
            Cell::number(of.total_errors),
            Cell::number(of.total_deadlocks),
            times(of.avg_wait_time_ms, of.p99_wait_time_ms, of.max_wait_time_ms),
            times(of.avg_hold_time_ms, of.p99_hold_time_ms, of.max_hold_time_ms),
            Cell::number(of.current_holders),
            Cell::number(of.current_waiters),
        ]);
    }
    table
}

fn times(average: f64, p99: f64, longest: f64) -> Cell {
    Cell::number(format!("{} / {} / {}", milliseconds(average), milliseconds(p99), milliseconds(longest)))
}
