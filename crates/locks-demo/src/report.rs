//! The report as data, which is what `--json` prints; `report_text` prints it for people.

use std::{collections::BTreeSet, time::Duration};

use concurrent_locks::{LockManager, Mode};
use serde::Serialize;

use super::{
    agent::label,
    cli::DemoArgs,
    fleet::Run,
    journal::{Account, Entry},
    verify::{Findings, Loss, PointsFound},
    waits::{WaitedFor, Waits, milliseconds},
    work_folder::WorkFolder,
};

/// The outcome of a run, as `--json` prints it (`docs/demo.md`).
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    pub(super) agents: u32,
    pub(super) with_locks: bool,
    /// From the start of the work to its end.
    pub(super) seconds: f64,
    pub(super) operations: u64,
    pub(super) operations_per_second: f64,
    pub(super) lost_updates: u64,
    /// Where they are missing, the largest first.
    pub(super) losses: Vec<Loss>,
    pub(super) corrupt_files: usize,
    pub(super) corrupt_file_names: Vec<String>,
    /// Times that a file was found damaged by an agent.
    pub(super) torn_reads: u64,
    pub(super) points: PointsFound,
    /// Writes that were begun and neither done nor called off: the killed agent's, and failed ones.
    pub(super) half_done: u64,
    pub(super) killed_agents: u32,
    /// From the kill until others held the locks of the killed agent; null without a kill or without locks.
    pub(super) recovered_ms: Option<f64>,
    pub(super) mean_wait_ms: f64,
    pub(super) p99_wait_ms: f64,
    pub(super) max_wait_ms: f64,
    /// Requests that were refused to break a deadlock; the agents tried again.
    pub(super) deadlocks: u64,
    pub(super) timeouts: u64,
    /// Operations that failed for another reason than a lock that timed out.
    pub(super) failures: u64,
    /// The message of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_failure: Option<String>,
    /// Sections that overlapped although they exclude each other.
    pub(super) overlaps: u64,
    /// Operations of the slowest agent per operation of the fastest, the killed one left out.
    pub(super) fairness: f64,
    pub(super) interrupted: bool,
    pub(super) problems: Vec<String>,
    pub(super) per_agent: Vec<AgentReport>,
    /// Who waited for whom, the longest first.
    pub(super) waits: Vec<WaitedFor>,
    /// The locks, as the library counts them.
    pub(super) locks: Vec<LockReport>,
    /// The URL of the locks.
    pub(super) table: String,
    /// Where the files are; null if they were removed.
    pub(super) dir: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    NothingLost,
    Lost,
    /// Nothing was lost, but a request timed out, an operation failed, sections overlapped or an agent ended badly.
    Incomplete,
}

#[derive(Debug, Serialize)]
pub(super) struct AgentReport {
    pub(super) agent: String,
    pub(super) pid: u32,
    pub(super) killed: bool,
    pub(super) operations: u64,
    pub(super) mean_wait_ms: f64,
    pub(super) max_wait_ms: f64,
    pub(super) deadlocks: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct LockReport {
    pub(super) resource: String,
    pub(super) mode: Mode,
    pub(super) acquisitions: u64,
    pub(super) mean_wait_ms: f64,
    pub(super) p99_wait_ms: f64,
    pub(super) max_wait_ms: f64,
    pub(super) mean_hold_ms: f64,
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
            interrupted: run.interrupted.is_some(),
            problems: run.problems.clone(),
            per_agent,
            waits: waits.pairs.clone(),
            locks: LockReport::all(manager, account)?,
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
    /// The locks that this run used: the space may have others.
    fn all(manager: &LockManager, account: &Account) -> anyhow::Result<Vec<LockReport>> {
        let used: BTreeSet<&str> = account
            .entries()
            .filter_map(|entry| match entry {
                Entry::Section(held) => Some(held.locks.iter().map(|(resource, _)| resource.as_str())),
                _ => None,
            })
            .flatten()
            .collect();
        let statistics =
            manager.statistics_all().blocking()?.into_iter().filter(|(resource, _)| used.contains(resource.as_str()));
        let by_mode = statistics.flat_map(|(resource, modes)| {
            modes.into_iter().map(move |(mode, statistics)| LockReport {
                resource: resource.clone(),
                mode,
                acquisitions: statistics.total_acquisitions,
                mean_wait_ms: in_milliseconds(statistics.avg_wait),
                p99_wait_ms: in_milliseconds(statistics.p99_wait),
                max_wait_ms: in_milliseconds(statistics.max_wait),
                mean_hold_ms: in_milliseconds(statistics.avg_hold),
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

fn in_milliseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}
