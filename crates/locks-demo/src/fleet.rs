//! The agents as the parent sees them: started, listened to, one of them killed, stopped.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use concurrent_locks::LockManager;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{
    cli::DemoArgs,
    clock::Clock,
    protocol::{Message, Order},
    work_folder::WorkFolder,
};

/// For what an agent does at once on a quiet machine: getting ready, parking, leaving.
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);

/// The running agents. Dropping it kills those that are left.
pub(super) struct Fleet<'a> {
    agents: Vec<Agent>,
    messages: Receiver<(usize, Message)>,
    manager: &'a LockManager,
    without_locks: bool,
    /// The signal that came; 0: none.
    interrupted: Arc<AtomicUsize>,
}

struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    operations: u64,
    ended: Option<ExitStatus>,
}

/// What became of a run.
#[derive(Debug)]
pub(super) struct Run {
    /// From the start of the work to its end.
    pub(super) elapsed: Duration,
    pub(super) pids: Vec<u32>,
    pub(super) kill: Option<Kill>,
    /// By this signal.
    pub(super) interrupted: Option<i32>,
    /// Agents that did not end well, beyond the one that was killed.
    pub(super) problems: Vec<String>,
}

/// The kill. Times are microseconds of the fleet's clock.
#[derive(Debug)]
pub(super) struct Kill {
    pub(super) agent: usize,
    /// The locks that it held to write.
    pub(super) resources: Vec<String>,
    pub(super) parked: u64,
    pub(super) killed: u64,
}

impl Fleet<'_> {
    /// Starts the agents and waits until all of them are ready.
    pub(super) fn start<'a>(
        args: &DemoArgs,
        folder: &WorkFolder,
        manager: &'a LockManager,
    ) -> anyhow::Result<Fleet<'a>> {
        let (sender, messages) = channel();
        let interrupted = Arc::new(AtomicUsize::new(0));
        let mut fleet = Fleet { agents: Vec::new(), messages, manager, without_locks: args.without_locks, interrupted };
        // The first signal asks for the report, the second ends at once.
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))?;
            signal_hook::flag::register(signal, Arc::clone(&again))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&fleet.interrupted), signal.unsigned_abs() as usize)?;
        }
        for number in 0..args.agents {
            fleet.agents.push(Agent::start(args, folder, manager, number, sender.clone())?);
        }
        let mut ready = 0;
        while ready < fleet.agents.len() {
            match fleet.messages.recv_timeout(PATIENCE) {
                Ok((_, Message::Ready)) => ready += 1,
                Ok(_) => {}
                Err(_) => bail!("only {ready} of {} agents got ready in {PATIENCE:?}", fleet.agents.len()),
            }
            fleet.ensure_alive()?;
        }
        Ok(fleet)
    }

    /// Lets the agents work for `time`, kills one of them in mid-write on the way, stops the rest.
    pub(super) fn run(mut self, time: Duration) -> anyhow::Result<Run> {
        let bar = progress_bar(time);
        let clock = Clock::new();
        let start = Instant::now();
        let victim = self.agents.len() / 2;
        for agent in &mut self.agents {
            agent.order(Order::Go)?;
        }
        let mut kill = None;
        let mut parking = false;
        while self.interrupted.load(Ordering::Relaxed) == 0 && (start.elapsed() < time || kill.is_none()) {
            if !parking && start.elapsed() > time * 2 / 5 {
                self.agents[victim].order(Order::Park)?;
                parking = true;
            }
            ensure!(start.elapsed() < time + PATIENCE, "agent-{victim} did not get into its write in {PATIENCE:?}");
            if let Some(resources) = self.listen(TICK)? {
                let parked = clock.now();
                bar.set_message(format!("killed agent-{victim} in mid-write"));
                kill = Some(self.kill(victim, resources, parked, clock)?);
            }
            bar.set_position((start.elapsed().min(time)).as_millis() as u64);
            bar.set_prefix(format!("{} operations", self.operations()));
            self.ensure_alive()?;
        }
        bar.set_message("agents finish");
        let problems = self.stop()?;
        bar.finish_and_clear();
        Ok(Run {
            elapsed: start.elapsed(),
            pids: self.agents.iter().map(|agent| agent.child.id()).collect(),
            kill,
            interrupted: i32::try_from(self.interrupted.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0),
            problems,
        })
    }

    /// Takes in what agents say, for `time`; returns the locks of the one that parked.
    fn listen(&mut self, time: Duration) -> anyhow::Result<Option<Vec<String>>> {
        let until = Instant::now() + time;
        loop {
            match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((agent, Message::Progress { operations })) => self.agents[agent].operations = operations,
                Ok((_, Message::Parked { resources })) => return Ok(Some(resources)),
                Ok((_, Message::Ready)) => {}
                Ok((agent, Message::Failed { error })) => bail!("agent-{agent}: {error}"),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("all agents are gone"),
            }
        }
    }

    /// Kills the agent once somebody is seen to wait for a lock that it holds.
    fn kill(&mut self, victim: usize, resources: Vec<String>, parked: u64, clock: Clock) -> anyhow::Result<Kill> {
        let deadline = Instant::now() + PATIENCE;
        while !self.without_locks && !self.is_wanted(&resources)? {
            ensure!(Instant::now() < deadline, "nobody waits for {resources:?}");
            thread::sleep(Duration::from_millis(1));
        }
        let killed = clock.now();
        let agent = &mut self.agents[victim];
        agent.child.kill()?;
        agent.ended = Some(agent.child.wait()?);
        Ok(Kill { agent: victim, resources, parked, killed })
    }

    fn is_wanted(&self, resources: &[String]) -> anyhow::Result<bool> {
        for resource in resources {
            if self.manager.status(resource).blocking()?.is_some_and(|status| !status.waiters.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the agents finish; returns what is wrong with how they ended.
    fn stop(&mut self) -> anyhow::Result<Vec<String>> {
        for agent in self.agents.iter_mut().filter(|agent| agent.ended.is_none()) {
            agent.order(Order::Stop)?;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut problems = Vec::new();
        for (number, agent) in self.agents.iter_mut().enumerate().filter(|(_, agent)| agent.ended.is_none()) {
            while agent.child.try_wait()?.is_none() && Instant::now() < deadline {
                thread::sleep(TICK);
            }
            match agent.child.try_wait()? {
                Some(status) if status.success() => {}
                Some(status) => problems.push(format!("agent-{number} ended with {status}")),
                None => {
                    agent.child.kill()?;
                    problems.push(format!("agent-{number} did not stop in {PATIENCE:?} and was killed"));
                }
            }
            agent.ended = Some(agent.child.wait()?);
        }
        Ok(problems)
    }

    fn ensure_alive(&mut self) -> anyhow::Result<()> {
        for (number, agent) in self.agents.iter_mut().enumerate().filter(|(_, agent)| agent.ended.is_none()) {
            if let Some(status) = agent.child.try_wait()? {
                bail!("agent-{number} ended with {status}");
            }
        }
        Ok(())
    }

    fn operations(&self) -> u64 {
        self.agents.iter().map(|agent| agent.operations).sum()
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        for agent in self.agents.iter_mut().filter(|agent| agent.ended.is_none()) {
            // It may have ended by itself; either way it is gone after this.
            let _ = agent.child.kill();
            let _ = agent.child.wait();
        }
    }
}

impl Agent {
    fn start(
        args: &DemoArgs,
        folder: &WorkFolder,
        manager: &LockManager,
        number: u32,
        messages: Sender<(usize, Message)>,
    ) -> anyhow::Result<Agent> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent").arg("--dir").arg(folder.path());
        command.args(["--number", &number.to_string(), "--agents", &args.agents.to_string()]);
        command.args(["--table", manager.url()]);
        if args.without_locks {
            command.arg("--without-locks");
        }
        // A group of its own, so that Ctrl-C at the terminal reaches the parent only, which ends the agents in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("an agent could not be started")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("no pipe from the agent")?);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A killed agent may leave half a line; nobody listens any more once the run has ended.
                let Ok(message) = serde_json::from_str(&line) else { break };
                if messages.send((number as usize, message)).is_err() {
                    break;
                }
            }
        });
        Ok(Agent { child, stdin, operations: 0, ended: None })
    }

    fn order(&mut self, order: Order) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("no pipe to the agent")?;
        Ok(writeln!(stdin, "{order}").and_then(|()| stdin.flush())?)
    }
}

/// It is drawn on stderr, and only on a terminal.
fn progress_bar(time: Duration) -> ProgressBar {
    let template = format!("{{bar:20}} {{elapsed}} of {}s, {{prefix}} {{msg}}", time.as_secs());
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(time.as_millis() as u64).with_style(style).with_message("")
}
