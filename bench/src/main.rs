//! Measures the locks against their peers: same machine, same run, same work. Nothing is asserted.

mod board;
mod cluster;
mod host;
mod inprocess;
mod machine;
mod measure;
mod peers;
mod report;

use std::io::{self, Write};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{
    host::Job,
    inprocess::Cargo,
    measure::Plan,
    report::{Aim, Table, print_aims},
};

/// Measures concurrent-locks against its peers: same machine, same run, same work.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    hidden: Option<Hidden>,

    /// About a minute instead of a few.
    #[arg(long)]
    quick: bool,

    /// Only this group; may be given several times.
    #[arg(long, value_name = "GROUP")]
    only: Vec<Group>,

    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// What the benchmark starts itself as.
#[derive(Debug, Subcommand)]
enum Hidden {
    #[command(hide = true)]
    Child { job: String },
    #[command(hide = true)]
    Weigh { cargo: String },
    #[command(hide = true)]
    Worker { kind: String, url: String, lock: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Group {
    /// In process, uncontended.
    Local,
    /// In process, one and two threads.
    Threads,
    /// In process, hand-off.
    LocalHandoff,
    /// Cost by the number of waiters and resources.
    Growth,
    /// Memory per resource and waiter.
    Memory,
    /// Between processes, uncontended.
    Host,
    /// Between processes, hand-off.
    Handoff,
    /// 2, 8 and 32 processes on one lock, 8 on 64.
    Hammer,
    /// A writer among readers.
    Writer,
    /// A killed holder.
    Death,
    /// The command line.
    Command,
    /// Commands that wait for one lock.
    Idle,
    /// A queue of commands.
    Drain,
    /// On a server, uncontended.
    Cluster,
    /// On a server, hand-off.
    ClusterHandoff,
    /// On a server, eight processes on one lock.
    ClusterFairness,
    /// On a server, round trips.
    ClusterTrips,
    /// On a server, many tasks on one connection.
    ClusterTasks,
}

impl Group {
    fn measure(self, plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
        let one = |(table, aims)| (vec![table], aims);
        Ok(match self {
            Group::Local => one(inprocess::uncontended(plan)?),
            Group::Threads => one(inprocess::threads(plan)?),
            Group::LocalHandoff => (inprocess::handoff(plan)?, Vec::new()),
            Group::Growth => inprocess::growth(plan)?,
            Group::Memory => (inprocess::memory(plan)?, Vec::new()),
            Group::Host => one(host::uncontended(plan)?),
            Group::Handoff => one(host::handoff(plan)?),
            Group::Hammer => host::hammer(plan)?,
            Group::Writer => one(host::writer(plan)?),
            Group::Death => host::death(plan)?,
            Group::Command => one(host::command(plan)?),
            Group::Idle => one(host::idle(plan)?),
            Group::Drain => one(host::drain(plan)?),
            Group::Cluster => cluster::uncontended(plan)?,
            Group::ClusterHandoff => cluster::handoff(plan)?,
            Group::ClusterFairness => cluster::fairness(plan)?,
            Group::ClusterTrips => cluster::trips(plan)?,
            Group::ClusterTasks => cluster::tasks(plan)?,
        })
    }
}

/// Everything a run found.
#[derive(Serialize)]
struct Report {
    machine: String,
    plan: Plan,
    tables: Vec<Table>,
    aims: Vec<Aim>,
    /// Groups that could not be measured, and why.
    failed: Vec<(Group, String)>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.hidden {
        Some(Hidden::Child { job }) => serde_json::from_str::<Job>(job)?.run(),
        Some(Hidden::Weigh { cargo }) => {
            let weight = inprocess::weigh(&serde_json::from_str::<Cargo>(cargo)?)?;
            Ok(writeln!(io::stdout(), "{weight}")?)
        }
        Some(Hidden::Worker { kind, url, lock }) => cluster::work(serde_json::from_str(kind)?, url, lock),
        None => measure_all(&arguments),
    }
}

fn measure_all(arguments: &Arguments) -> Result<()> {
    let plan = if arguments.quick { Plan::QUICK } else { Plan::FULL };
    let groups = if arguments.only.is_empty() { Group::value_variants() } else { &arguments.only };
    let mut report =
        Report { machine: machine::describe(), plan, tables: Vec::new(), aims: Vec::new(), failed: Vec::new() };
    let mut out = io::stdout().lock();
    if !arguments.json {
        writeln!(out, "{}", report.machine)?;
        writeln!(out, "Cells: median [min-p95] of the rounds, and the ratio of the medians to one row's.")?;
    }
    for &group in groups {
        match group.measure(plan) {
            Ok((tables, aims)) => {
                if !arguments.json {
                    tables.iter().try_for_each(|table| table.print(&mut out))?;
                }
                report.tables.extend(tables);
                report.aims.extend(aims);
            }
            Err(error) => {
                let why = format!("{error:#}");
                if !arguments.json {
                    writeln!(out, "\n{group:?} could not be measured: {why}")?;
                }
                report.failed.push((group, why));
            }
        }
        out.flush()?;
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print_aims(&report.aims, &mut out)?;
    }
    let missing = report.failed.len() + report.tables.iter().map(|table| table.failed.len()).sum::<usize>();
    anyhow::ensure!(missing == 0, "{missing} contenders or groups could not be measured");
    Ok(())
}
