//! The report as text and tables.

use std::fmt;

use owo_colors::{OwoColorize, Style};

use super::{
    report::{Report, Verdict},
    table::{Cell, Table, milliseconds as shown},
};

/// Rows shown of a table that could be long; JSON has all.
const ROWS: usize = 8;

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
        let mut table = Table::new(["LOCK", "MODE", "ACQUIRED", "MEAN WAIT", "P99 WAIT", "MAX WAIT", "MEAN HOLD"]);
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
                "Waits: mean {}, p99 {}, longest {}; {} deadlocks, which agents make on purpose, were broken; {} time-outs",
                shown(self.mean_wait_ms),
                shown(self.p99_wait_ms),
                shown(self.max_wait_ms),
                self.deadlocks,
                self.timeouts,
            )?;
        }
        if let Some(recovered) = self.recovered_ms {
            writeln!(f, "One agent was killed in mid-write: its locks passed on after {}", shown(recovered))?;
        }
        if self.with_locks && self.points.half_done != 0 {
            writeln!(
                f,
                "It left one transfer half done ({} points). That is expected: a lock cannot finish a dead process's work.",
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
                let checked = "every update that an agent finished is in the files, and every file is whole";
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
