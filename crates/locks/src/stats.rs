//! `locks stats`: how often and how long locks were waited for and held.

use std::{collections::BTreeMap, time::Duration};

use concurrent_locks::{Mode, Statistics};
use serde::Serialize;

use crate::{
    cli::{Global, StatsArgs},
    exit::{Code, Exit},
    output::Output,
    space,
    table::{Cell, Table, plain},
};

/// The statistics of one lock, as JSON has them.
#[derive(Serialize)]
struct One<'a> {
    resource_name: &'a str,
    locks: &'a BTreeMap<Mode, Statistics>,
}

pub(crate) fn run(args: &StatsArgs, global: &Global, output: &Output) -> anyhow::Result<Code> {
    let locks = space::observe(global)?;
    let is_unused = match &args.name {
        Some(name) => {
            let modes = locks.statistics(name).blocking()?;
            match (output.json(), modes.is_empty()) {
                (true, true) => output.object(&BTreeMap::<Mode, Statistics>::new())?,
                (true, false) => output.object(&One { resource_name: name, locks: &modes })?,
                (false, true) => output.text(format_args!("{}: not used yet", plain(name)))?,
                (false, false) => output.text(describe(args, [&modes]))?,
            }
            modes.is_empty()
        }
        None => {
            let all = locks.statistics_all().blocking()?;
            match (output.json(), all.is_empty()) {
                (true, _) => output.object(&all)?,
                (false, true) => {
                    let absence = locks.absence().map_or_else(String::new, |absence| format!(": {}", plain(&absence)));
                    output.text(format_args!("no locks{absence}"))?;
                }
                (false, false) => output.text(describe(args, all.values()))?,
            }
            all.is_empty()
        }
    };
    locks.unseen().iter().for_each(|unseen| output.warning(unseen));
    // Only a participant can change anything; where nothing was counted, there is nothing to take part in.
    if args.reset && !is_unused {
        space::open(global)?.reset_statistics(args.name.as_deref()).blocking()?;
    }
    Ok(Exit::Success.into())
}

/// The locks at which the most time was lost come first.
fn describe<'a>(args: &StatsArgs, locks: impl IntoIterator<Item = &'a BTreeMap<Mode, Statistics>>) -> Table {
    let mut table = Table::new([
        "LOCK",
        "MODE",
        "ACQUIRED",
        "FAILED",
        "WAITED",
        "MEAN",
        "P99",
        "MAX",
        "HELD MEAN",
        "P99",
        "MAX",
        "TIMEOUTS",
        "ERRORS",
        "DEADLOCKS",
        "HOLDERS",
        "WAITERS",
    ])
    .shrinks(&["LOCK"]);
    let mut rows: Vec<(Mode, &Statistics)> =
        locks.into_iter().flatten().map(|(mode, statistics)| (*mode, statistics)).collect();
    rows.sort_by(|(_, a), (_, b)| waited(b).cmp(&waited(a)).then_with(|| a.resource_name.cmp(&b.resource_name)));
    for (mode, of) in rows {
        let wait = |time| time_of(of.total_acquisitions, time);
        let hold = |time| time_of(of.total_releases, time);
        let long = |cell: Cell| if args.long { cell } else { Cell::default() };
        table.row([
            Cell::text(&of.resource_name),
            Cell::text(mode.as_str()),
            Cell::number(of.total_acquisitions),
            // Deadlocks are counted as errors too.
            count(of.total_timeouts + of.total_errors),
            wait(waited(of)),
            wait(of.avg_wait),
            long(wait(of.p99_wait)),
            wait(of.max_wait),
            hold(of.avg_hold),
            long(hold(of.p99_hold)),
            long(hold(of.max_hold)),
            long(count(of.total_timeouts)),
            long(count(of.total_errors)),
            long(count(of.total_deadlocks)),
            long(count(of.current_holders)),
            long(count(of.current_waiters)),
        ]);
    }
    table
}

/// The time lost in waiting for it, all together.
fn waited(of: &Statistics) -> Duration {
    of.avg_wait.saturating_mul(u32::try_from(of.total_acquisitions).unwrap_or(u32::MAX))
}

fn count(number: u64) -> Cell {
    if number == 0 { Cell::number("-") } else { Cell::number(number) }
}

fn time_of(times: u64, time: Duration) -> Cell {
    if times == 0 || time.is_zero() { Cell::number("-") } else { Cell::time(time) }
}
