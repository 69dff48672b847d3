//! Many processes that lock at random and are killed at random.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use concurrent_locks::LockManager;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Result,
    claims::Claims,
    scenario::{DEADLINE, until},
};

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Chaos {
    /// How many processes at a time.
    pub workers: u64,
    /// How many resources they share.
    pub names: usize,
    /// For how long.
    pub time: Duration,
    /// Each process is number 1 of its own PID namespace.
    pub namespaces: bool,
    /// Where randomness begins.
    pub seed: u64,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Processes killed.
    pub kills: u64,
    /// Grants, of all processes together.
    pub acquisitions: u64,
    /// Buckets that were rebuilt.
    pub rebuilds: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kills, {} acquisitions, {} rebuilds", self.kills, self.acquisitions, self.rebuilds)
    }
}

/// Whether this user may make PID namespaces here.
#[must_use]
pub fn namespaces_work() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["-Urpf", "--mount-proc", "true"]).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// One worker process.
struct Worker {
    child: Child,
    incarnation: u64,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A lock table under fire.
struct Field<'a> {
    chaos: Chaos,
    victim: &'a Path,
    directory: PathBuf,
    url: String,
    incarnations: u64,
}

impl Chaos {
    /// Runs it. `victim` is the program of `src/bin/victim.rs`.
    ///
    /// # Errors
    /// Says who saw what go wrong.
    pub fn run(self, victim: &Path) -> Result<Report> {
        let home = tempfile::tempdir()?;
        let directory = home.path().to_owned();
        let url = format!("host:{}", directory.join("table").display());
        let locks = LockManager::connect(&url).blocking()?;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut field = Field { chaos: self, victim, directory, url, incarnations: 0 };
        let mut workers = (0..self.workers).map(|worker| field.start(worker)).collect::<Result<Vec<_>>>()?;
        let begin = Instant::now();
        let mut kills = 0;
        while begin.elapsed() < self.time {
            std::thread::sleep(Duration::from_micros(random.u64(100..20_000)));
            let unlucky = random.usize(..workers.len());
            let killed = field.kill(&mut workers[unlucky])?;
            workers[unlucky] = field.start(unlucky as u64)?;
            kills += u64::from(killed);
        }
        std::fs::write(field.directory.join("stop"), "")?;
        for worker in &mut workers {
            until(|| Ok(worker.child.try_wait()?.is_some()))?;
            field.must_be_well(worker)?;
        }
        for name in 0..self.names {
            locks.write(&format!("chaos/{name}")).timeout(DEADLINE).blocking()?.release()?;
        }
        let health = locks.health().blocking()?;
        if !health.problems.is_empty() {
            return Err(format!("problems: {:?}", health.problems).into());
        }
        for (name, status) in locks.status_all().blocking()? {
            if !status.holders.is_empty() || !status.waiters.is_empty() {
                return Err(format!("{name}: left behind: {status:?}").into());
            }
        }
        let acquisitions =
            locks.statistics_all().blocking()?.values().flatten().map(|(_, seen)| seen.total_acquisitions).sum();
        Ok(Report { kills, acquisitions, rebuilds: health.rebuilds })
    }
}

impl Field<'_> {
    fn start(&mut self, worker: u64) -> Result<Worker> {
        self.incarnations += 1;
        let Chaos { names, namespaces, seed, .. } = self.chaos;
        let mut command = if namespaces { Command::new("unshare") } else { Command::new(self.victim) };
        if namespaces {
            // It complains about its own signal mask whenever its child is killed; a worker that
            // sees something go wrong leaves it in a file.
            command.args(["-Urpf", "--mount-proc", "--kill-child"]).arg(self.victim).stderr(Stdio::null());
        }
        let numbers = [names as u64, worker, self.incarnations, seed.wrapping_add(self.incarnations)];
        command.arg("chaos").arg(&self.url).arg(&self.directory).args(numbers.map(|number| number.to_string()));
        Ok(Worker { child: command.spawn()?, incarnation: self.incarnations })
    }

    /// Kills a worker; `false` if, under `unshare`, it had not begun.
    fn kill(&self, worker: &mut Worker) -> Result<bool> {
        if worker.child.try_wait()?.is_some() {
            self.must_be_well(worker)?;
            return Err("a worker ended before it was asked to".into());
        }
        Claims::announce_death(&self.directory, worker.incarnation)?;
        let inner = if self.chaos.namespaces { only_child_of(worker.child.id()) } else { None };
        if let Some(inner) = inner {
            // Its reaper, `unshare`, is our child and waits for it, so the number is still its own.
            kill(Pid::from_raw(inner), Signal::SIGKILL)?;
        } else {
            worker.child.kill()?;
        }
        worker.child.wait()?;
        Ok(!self.chaos.namespaces || inner.is_some())
    }

    /// A worker that ended by itself must say that all was well.
    fn must_be_well(&self, worker: &mut Worker) -> Result<()> {
        let status = worker.child.wait()?;
        if status.success() {
            return Ok(());
        }
        let complaint = std::fs::read_to_string(self.directory.join(format!("complaint-{}", worker.incarnation)));
        Err(format!("worker {}: {status}: {}", worker.incarnation, complaint.unwrap_or_default()).into())
    }
}

fn only_child_of(pid: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
