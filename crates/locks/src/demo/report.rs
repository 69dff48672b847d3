//! The report: one object for programs, the same in words and tables for people.

use std::fmt;

use concurrent_locks::{LockManager, Mode};
use owo_colors::{OwoColorize, Style};
use serde::Serialize;

use super::{
    DemoArgs,
    agent::label,
    fleet::Run,
    journal::{Account, Entry},
    verify::{Findings, Loss, PointsFound},
    waits::{WaitedFor, Waits, milliseconds},
    work_folder::WorkFolder,
};
use crate::table::{Cell, Table, milliseconds as shown};

/// Rows shown of a table that could be long; JSON has all.
const ROWS: usize = 8;

/// The outcome of a run, as `locks demo --json` prints it (`docs/json.md`).
#[derive(Debug, Serialize)]
pub(super) struct Report {
    verdict: Verdict,
    agents: u32,
    with_locks: bool,
    /// From the start of the work to its end.
    seconds: f64,
    operations: u64,
    operations_per_second: f64,
    lost_updates: u64,
    /// Where they are missing, the largest first.
    losses: Vec<Loss>,
    corrupt_files: usize,
    corrupt_file_names: Vec<String>,
    /// Times that a file was found damaged by an agent.
    torn_reads: u64,
    points: PointsFound,
    /// Writes that were begun and neither done nor called off: the killed agent's, and failed ones.
    half_done: u64,
    killed_agents: u32,
    /// From the kill until others held the locks of the killed agent; null without a kill or without locks.
    recovered_ms: Option<f64>,
    mean_wait_ms: f64,
    p99_wait_ms: f64,
    max_wait_ms: f64,
    /// Requests that were refused to break a deadlock; the agents tried again.
    deadlocks: u64,
    timeouts: u64,
    /// Operations that failed for another reason than a lock that was not got in time.
    failures: u64,
    /// The first of them in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failure: Option<String>,
    /// Sections that overlapped although they exclude each other.
    overlaps: u64,
    /// Operations of the slowest agent per operation of the fastest, the killed one left out.
    fairness: f64,
    interrupted: bool,
    problems: Vec<String>,
    per_agent: Vec<AgentReport>,
    /// Who waited for whom, the longest first.
    waits: Vec<WaitedFor>,
    /// The locks, as the library counts them.
    locks: Vec<LockReport>,
    /// The URL of the locks.
    table: String,
    /// Where the files are; null if they were removed.
    dir: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    NothingLost,
    Lost,
    /// Nothing was lost, but a request timed out, an operation failed, sections overlapped or an agent ended badly.
    Incomplete,
}

#[derive(Debug, Serialize)]
struct AgentReport {
    agent: String,
    pid: u32,
    killed: bool,
    operations: u64,
    mean_wait_ms: f64,
    max_wait_ms: f64,
    deadlocks: u64,
}

#[derive(Debug, Serialize)]
struct LockReport {
    resource: String,
    mode: Mode,
    acquisitions: u64,
    mean_wait_ms: f64,
    p99_wait_ms: f64,
    max_wait_ms: f64,
    mean_hold_ms: f64,
}

impl Report {
    pub(super) fn new(
        args: &DemoArgs,
        manager: &LockManager,
        folder: &WorkFolder,
        run: &Run,
        account: &Account,
        findings: &Findings,
        waits: &Waits,
    ) -> anyhow::Result<Report> {
        let killed = run.kill.as_ref().map(|kill| kill.agent);
        let per_agent: Vec<_> = account
            .agents
            .iter()
            .enumerate()
            .map(|(number, entries)| AgentReport::new(number, run.pids[number], killed == Some(number), entries))
            .collect();
        let operations = per_agent.iter().map(|agent| agent.operations).sum();
        let failed = |entry: &Entry| match entry {
            Entry::Failed { error, .. } => Some(error.clone()),
            _ => None,
        };
        let mut report = Report {
            verdict: Verdict::NothingLost,
            agents: args.agents,
            with_locks: !args.without_locks,
            seconds: run.elapsed.as_secs_f64(),
            operations,
            operations_per_second: operations as f64 / run.elapsed.as_secs_f64(),
            lost_updates: findings.lost_updates,
            losses: findings.losses.clone(),
            corrupt_files: findings.corrupt_files.len(),
            corrupt_file_names: findings.corrupt_files.clone(),
            torn_reads: count(account, |entry| matches!(entry, Entry::Failed { torn: true, .. })),
            points: findings.points.clone(),
            half_done: findings.half_done,
            killed_agents: u32::from(killed.is_some()),
            recovered_ms: waits.recovered_ms.filter(|_| !args.without_locks),
            mean_wait_ms: waits.mean_ms(),
            p99_wait_ms: waits.p99_ms(),
            max_wait_ms: waits.max_ms(),
            deadlocks: per_agent.iter().map(|agent| agent.deadlocks).sum(),
            timeouts: count(account, |entry| matches!(entry, Entry::Refused { timed_out: true, .. })),
            failures: count(account, |entry| matches!(entry, Entry::Failed { .. })),
            first_failure: account.entries().find_map(failed),
            overlaps: waits.overlaps,
            fairness: fairness(&per_agent),
            interrupted: run.interrupted,
            problems: run.problems.clone(),
            per_agent,
            waits: waits.pairs.clone(),
            locks: LockReport::all(manager)?,
            table: manager.url().to_owned(),
            dir: (!folder.is_temporary()).then(|| folder.path().display().to_string()),
        };
        report.verdict = report.judge();
        Ok(report)
    }

    /// Whether nothing was lost and nothing else is wrong.
    pub(super) fn is_well(&self) -> bool {
        self.verdict == Verdict::NothingLost
    }

    fn judge(&self) -> Verdict {
        if self.lost_updates > 0 || self.corrupt_files > 0 || self.points.missing != 0 {
            Verdict::Lost
        } else if self.overlaps > 0 || self.failures > 0 || self.timeouts > 0 || !self.problems.is_empty() {
            Verdict::Incomplete
        } else {
            Verdict::NothingLost
        }
    }
}

impl AgentReport {
    fn new(number: usize, pid: u32, killed: bool, entries: &[Entry]) -> AgentReport {
        let waits: Vec<u64> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Section(held) => Some(held.granted - held.asked),
                _ => None,
            })
            .collect();
        let count = |wanted: fn(&Entry) -> bool| entries.iter().filter(|entry| wanted(entry)).count() as u64;
        AgentReport {
            agent: label(number as u32),
            pid,
            killed,
            operations: count(|entry| matches!(entry, Entry::Done { .. })),
            mean_wait_ms: milliseconds(waits.iter().sum()) / waits.len().max(1) as f64,
            max_wait_ms: milliseconds(waits.iter().copied().max().unwrap_or(0)),
            deadlocks: count(|entry| matches!(entry, Entry::Deadlock { .. } | Entry::Refused { timed_out: false, .. })),
        }
    }
}

impl LockReport {
    fn all(manager: &LockManager) -> anyhow::Result<Vec<LockReport>> {
        let by_mode = manager.statistics_all()?.into_iter().flat_map(|(resource, modes)| {
            modes.into_iter().map(move |(mode, statistics)| LockReport {
                resource: resource.clone(),
                mode,
                acquisitions: statistics.total_acquisitions,
                mean_wait_ms: statistics.avg_wait_time_ms,
                p99_wait_ms: statistics.p99_wait_time_ms,
                max_wait_ms: statistics.max_wait_time_ms,
                mean_hold_ms: statistics.avg_hold_time_ms,
            })
        });
        Ok(by_mode.filter(|lock| lock.acquisitions > 0).collect())
    }
}

fn count(account: &Account, wanted: impl Fn(&Entry) -> bool) -> u64 {
    account.entries().filter(|entry| wanted(entry)).count() as u64
}

fn fairness(agents: &[AgentReport]) -> f64 {
    let done = || agents.iter().filter(|agent| !agent.killed).map(|agent| agent.operations);
    done().min().unwrap_or(0) as f64 / done().max().unwrap_or(0).max(1) as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_agents(f)?;
        self.write_waits(f)?;
        self.write_locks(f)?;
        self.write_summary(f)?;
        self.write_verdict(f)
    }
}

impl Report {
    fn write_agents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["AGENT", "PID", "OPERATIONS", "MEAN WAIT", "MAX WAIT", "DEADLOCKS", ""]);
        for agent in &self.per_agent {
            table.row([
                Cell::text(&agent.agent),
                Cell::number(agent.pid),
                Cell::number(agent.operations),
                Cell::milliseconds(agent.mean_wait_ms),
                Cell::milliseconds(agent.max_wait_ms),
                Cell::number(agent.deadlocks),
                Cell::text(if agent.killed { "killed in mid-write" } else { "" }).style(Style::new().yellow()),
            ]);
        }
        writeln!(f, "{table}\n")
    }

    fn write_waits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["WHO WAITED", "FOR WHOM", "TIMES", "IN ALL", "LONGEST"]);
        for wait in self.waits.iter().take(ROWS) {
            table.row([
                Cell::text(&wait.waiter),
                Cell::text(&wait.holder),
                Cell::number(wait.times),
                Cell::milliseconds(wait.total_ms),
                Cell::milliseconds(wait.max_ms),
            ]);
        }
        if table.is_empty() {
            return Ok(());
        }
        writeln!(f, "{table}")?;
        match self.waits.len().saturating_sub(ROWS) {
            0 => writeln!(f),
            more => writeln!(f, "{}\n", format_args!("and {more} more pairs (--json has all)").dimmed()),
        }
    }

    fn write_locks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["LOCK", "MODE", "TAKEN", "MEAN WAIT", "P99 WAIT", "MAX WAIT", "MEAN HOLD"]);
        for lock in &self.locks {
            table.row([
                Cell::text(&lock.resource),
                Cell::text(lock.mode.as_str()),
                Cell::number(lock.acquisitions),
                Cell::milliseconds(lock.mean_wait_ms),
                Cell::milliseconds(lock.p99_wait_ms),
                Cell::milliseconds(lock.max_wait_ms),
                Cell::milliseconds(lock.mean_hold_ms),
            ]);
        }
        if table.is_empty() { Ok(()) } else { writeln!(f, "{table}\n") }
    }

    fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations by {} agents in {:.1} s: {:.0} per second, the slowest agent did {:.0}% of the fastest",
            self.operations,
            self.agents,
            self.seconds,
            self.operations_per_second,
            self.fairness * 100.0,
        )?;
        if self.with_locks {
            writeln!(
                f,
                "Waits: mean {}, p99 {}, longest {}; {} deadlocks broken, {} time-outs",
                shown(self.mean_wait_ms),
                shown(self.p99_wait_ms),
                shown(self.max_wait_ms),
                self.deadlocks,
                self.timeouts,
            )?;
        }
        if let Some(recovered) = self.recovered_ms {
            writeln!(f, "Killed in mid-write: its locks were in other hands after {}", shown(recovered))?;
        }
        if self.with_locks && self.points.half_done != 0 {
            writeln!(
                f,
                "The write it died in is half done, as its journal says: {} points taken and not yet given",
                self.points.half_done
            )?;
        }
        if let Some(dir) = &self.dir {
            writeln!(f, "Files and journals: {dir}")?;
        }
        writeln!(f)
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interrupted {
            writeln!(f, "Interrupted; the check covers what was done until then.")?;
        }
        for problem in &self.problems {
            writeln!(f, "Problem: {problem}")?;
        }
        if let Some(error) = &self.first_failure {
            writeln!(f, "{} operations failed, the first with: {error}", self.failures)?;
        }
        if self.overlaps > 0 {
            writeln!(f, "{} sections overlapped that should exclude each other", self.overlaps)?;
        }
        match self.verdict {
            Verdict::NothingLost => {
                let checked = "every update in the journals is in the files, every file is whole";
                write!(f, "{}: {checked}", "Nothing was lost".green().bold())
            }
            Verdict::Incomplete => write!(f, "{}: see above", "Nothing was lost, but not all is well".yellow()),
            Verdict::Lost => self.write_losses(f),
        }
    }

    fn write_losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["WHAT", "DONE", "IN THE FILE", "LOST"]);
        for loss in self.losses.iter().take(ROWS) {
            table.row([
                Cell::text(&loss.counter),
                Cell::number(loss.expected),
                Cell::number(loss.found),
                Cell::number(loss.expected.abs_diff(loss.found)),
            ]);
        }
        if !table.is_empty() {
            writeln!(f, "{table}\n")?;
        }
        let files = &self.corrupt_file_names;
        write!(
            f,
            "{}: {} updates lost in {} places, {} damaged files{}{}, {} points of {} gone astray",
            "Lost".red().bold(),
            self.lost_updates,
            self.losses.len(),
            files.len(),
            if files.is_empty() { "" } else { ": " },
            files.join(" "),
            self.points.missing.abs(),
            self.points.before,
        )
    }
}
