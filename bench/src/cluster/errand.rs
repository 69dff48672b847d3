//! The parent's side of a worker: a process with one lock on a server, that executes commands, line by line.
//!
//! | line | answer |
//! |---|---|
//! | `pairs N` | acquires and releases the lock N times: nanoseconds in all |
//! | `hold` | takes the lock: `held` |
//! | `release` | releases it: when it began to (the clock is CLOCK_MONOTONIC in every language) |
//! | `take` | `asking`; acquires the lock: when it had it; releases it |
//! | `turns HOLD UNTIL` | takes the lock, sleeps HOLD, releases it, until UNTIL: turns, longest wait (nanoseconds) |
//! | `tasks N SLICE` | N tasks with a lock each, for SLICE nanoseconds: pairs, nanoseconds |
//!
//! It is `ready` when it has connected and taken the lock once. It ends with its input.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::kind::Kind;

/// Seconds a worker may take for one errand: the longest takes ten.
const PATIENCE: i64 = 60;

pub(super) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    kind: Kind,
}

impl Worker {
    /// Starts it, bound to one CPU or to none, and waits until it is ready.
    pub(super) fn start(kind: Kind, url: &str, lock: &str, cpu: Option<usize>) -> Result<Worker> {
        let wanted = kind.command()?;
        let mut command = match cpu {
            // Before it has threads, which would stay where they are.
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &cpu.to_string()]).arg(wanted.get_program()).args(wanted.get_args());
                command.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
                command
            }
            None => wanted,
        };
        command.args([url, lock]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("pipes were asked for")
        };
        let mut worker = Worker { child, input: Some(input), output: BufReader::new(output), kind };
        let word = worker.line()?;
        ensure!(word == "ready", "{} said {word:?}, not that it is ready", kind.name());
        Ok(worker)
    }

    pub(super) fn tell(&mut self, what: &str) -> Result<()> {
        let Some(input) = &mut self.input else { bail!("a worker that was asked to end") };
        writeln!(input, "{what}")?;
        Ok(input.flush()?)
    }

    /// The next line it says.
    pub(super) fn line(&mut self) -> Result<String> {
        let mut output = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let comes = !self.output.buffer().is_empty() || poll(&mut output, Some(&patience))? > 0;
        ensure!(comes, "{} has said nothing for {PATIENCE} s", self.kind.name());
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "{} has ended too early", self.kind.name());
        Ok(line.trim_end().to_owned())
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == word, "{} said {line:?}, not {word:?}", self.kind.name());
        Ok(())
    }

    /// The numbers of its next line.
    pub(super) fn numbers<const N: usize>(&mut self) -> Result<[f64; N]> {
        let line = self.line()?;
        let numbers: Vec<f64> =
            line.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| line.clone())?;
        numbers.try_into().map_err(|_| anyhow::anyhow!("{} said {line:?}, not {N} numbers", self.kind.name()))
    }

    /// Nanoseconds for so many pairs.
    pub(super) fn pairs(&mut self, pairs: u32) -> Result<f64> {
        self.tell(&format!("pairs {pairs}"))?;
        Ok(self.numbers::<1>()?[0])
    }

    /// Lets it end in order, so that the server has heard everything from it.
    pub(super) fn end(mut self) -> Result<()> {
        self.input = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.kind.name());
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only for a child that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
