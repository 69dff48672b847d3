//! Kills victims at one instruction after the other, and checks each time that the others continue.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use concurrent_locks::LockManager;

use crate::{
    Result,
    scenario::{DEADLINE, Remains, Scenario, Stage, second, status, until},
    stepper::{Reached, Victim},
};

/// At which instructions victims die.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// After 1, 1 + n, 1 + 2n, ... instructions.
    Stride(u64),
    /// At about so many instructions, evenly spread.
    Points(u64),
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: &'static str,
    /// How many victims died.
    pub kills: usize,
    /// How many instructions the operation has.
    pub instructions: u64,
    /// From each kill until another process had taken all the locks, and after how many instructions
    /// that kill was; sorted.
    pub recoveries: Vec<(Duration, u64)>,
    /// Buckets that were rebuilt meanwhile.
    pub rebuilds: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { name, kills, instructions, recoveries, rebuilds } = self;
        let (median, _) = recoveries.get(kills / 2).copied().unwrap_or_default();
        let (worst, at) = recoveries.last().copied().unwrap_or_default();
        write!(f, "{name:20} {kills:6} kills in {instructions:7} instructions, {rebuilds:5} rebuilds; ")?;
        write!(f, "others went on after {median:.1?}, at worst {worst:.1?} (killed after {at})")
    }
}

/// A table of its own and the runner's view of it.
struct Arena<'a> {
    scenario: &'a Scenario,
    victim: PathBuf,
    url: String,
    locks: LockManager,
    round: u64,
    recoveries: Vec<(Duration, u64)>,
}

/// Runs a scenario. `victim` is the program of `src/bin/victim.rs`.
///
/// # Errors
/// Says at which instruction the victim died and what the others could not do then.
pub fn run(scenario: &Scenario, plan: Plan, victim: &Path) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    // Small, because who buries a dead process looks at every bucket, one instruction at a time.
    let size = "resources=64&requests=256&processes=16";
    let url = format!("host:{}?{size}", directory.path().join("table").display());
    let locks = LockManager::connect(&url).blocking()?;
    (scenario.furnish)(&locks)?;
    let mut arena = Arena { scenario, victim: victim.to_owned(), url, locks, round: 0, recoveries: Vec::new() };
    let (Reached::Steps(instructions) | Reached::End(instructions)) = arena.kill_after(u64::MAX)?;
    let stride = match plan {
        Plan::Stride(stride) => stride,
        Plan::Points(points) => (instructions / points).max(1),
    };
    let mut at = 1;
    while let Reached::Steps(_) = arena.kill_after(at)? {
        at += stride;
    }
    arena.nothing_leaked()?;
    arena.recoveries.sort_unstable();
    Ok(Report {
        name: scenario.name,
        kills: arena.recoveries.len(),
        instructions,
        recoveries: arena.recoveries,
        rebuilds: arena.locks.health().blocking()?.rebuilds,
    })
}

impl Arena<'_> {
    /// One victim's life and death, and what the others can do afterwards.
    fn kill_after(&mut self, steps: u64) -> Result<Reached> {
        self.round += 1;
        let name = if self.scenario.new_names { format!("death/{}", self.round) } else { "death".to_owned() };
        self.round_with(&name, steps).map_err(|error| {
            format!("{}: a victim that died after {steps} instructions: {error}", self.scenario.name).into()
        })
    }

    fn round_with(&mut self, name: &str, steps: u64) -> Result<Reached> {
        let start =
            |scenario: &Scenario, name: &str| Ok(Victim::start(&mut scenario.command(&self.victim, &self.url, name))?);
        let held = if self.scenario.held_before { Some(self.locks.write(name).blocking()?) } else { None };
        let mut victim = start(self.scenario, name)?;
        let mut stage = Stage {
            locks: &self.locks,
            name,
            round: self.round,
            pid: victim.pid(),
            held,
            others: Vec::new(),
            waiters: Vec::new(),
            over: Arc::new(AtomicBool::new(false)),
            start: &start,
        };
        (self.scenario.stage)(&mut stage)?;
        let reached = victim.step(steps)?;
        victim.kill()?;
        let died = Instant::now();
        stage.over.store(true, Relaxed);
        let Stage { waiters, held, others, .. } = stage;
        drop(held);
        let both = [name, &second(name)];
        for name in both {
            self.locks.write(name).timeout(DEADLINE).blocking()?.release()?;
        }
        let (Reached::Steps(at) | Reached::End(at)) = reached;
        self.recoveries.push((died.elapsed(), at));
        for waiter in waiters {
            waiter.join().map_err(|_| "a waiter panicked")??;
        }
        for name in both {
            let status = status(&self.locks, name)?;
            let stands_by = |pid| others.iter().any(|other| other.pid() == pid);
            if !status.holders.is_empty() || !status.waiters.iter().all(|waiter| stands_by(waiter.pid)) {
                return Err(format!("left behind: {status:?}").into());
            }
        }
        if !others.is_empty() {
            others.into_iter().try_for_each(Victim::kill)?;
            // Nobody waits behind them: a newcomer cleans up.
            start(Scenario::named("acquire").ok_or("there is no such scenario")?, name)?.kill()?;
        }
        (self.scenario.aftermath)(&Remains { url: &self.url, name, visit: &|url| self.visit(url) })?;
        let problems = self.locks.health().blocking()?.problems;
        if problems.is_empty() { Ok(reached) } else { Err(format!("problems: {problems:?}").into()) }
    }

    /// Has another process look at a table.
    fn visit(&self, url: &str) -> Result<()> {
        let status = Command::new(&self.victim).args(["visit", url]).status()?;
        if status.success() { Ok(()) } else { Err(format!("a visitor of {url}: {status}").into()) }
    }

    /// A newcomer cleans up after all dead: then only it and the runner are left, without requests.
    fn nothing_leaked(&self) -> Result<()> {
        let scenario = Scenario::named("acquire").ok_or("there is no such scenario")?;
        let newcomer = Victim::start(&mut scenario.command(&self.victim, &self.url, "newcomer"))?;
        let expected = [std::process::id(), newcomer.pid()];
        until(|| {
            let health = self.locks.health().blocking()?;
            let only_living = health.attached.iter().all(|process| expected.contains(&process.pid));
            Ok(only_living && health.processes.used == 2 && health.requests.used == 0)
        })
        .map_err(|error| format!("{}: {error}: {:?}", self.scenario.name, self.locks.health().blocking()).into())
    }
}
