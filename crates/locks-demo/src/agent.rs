//! An agent: one process with many tasks and a few threads, started by the demo.

use std::{
    fs, io,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use agent_memories::{Access, Episode};
use anyhow::Context;
use concurrent_locks::LockManager;
use fastrand::Rng;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::{
    journal::Journal,
    park,
    protocol::{Message, Order},
    roll_call,
    task_worker::TaskWorker,
    thread_worker::ThreadWorker,
    work_folder::WorkFolder,
};

const TASKS: u32 = 6;
const THREADS: u32 = 2;

/// How long a worker thinks between reading a value and writing the changed one.
const THINKING: Duration = Duration::from_millis(1);

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Works as one agent of the fleet.
#[derive(clap::Args, Debug)]
pub(crate) struct AgentArgs {
    /// The work folder
    #[arg(long)]
    dir: PathBuf,

    /// The agent's number, from 0
    #[arg(long)]
    number: u32,

    /// How many agents there are
    #[arg(long)]
    agents: u32,

    /// The URL of the locks
    #[arg(long)]
    table: String,

    /// Take no locks
    #[arg(long)]
    without_locks: bool,
}

/// What all workers of an agent have in common.
pub(super) struct Shared {
    pub(super) number: u32,
    pub(super) folder: WorkFolder,
    pub(super) journal: Arc<Journal>,
    pub(super) stop: AtomicBool,
    episodes: Vec<Episode>,
}

impl Shared {
    /// The next thing to work on, done in this agent's name.
    pub(super) fn episode(&self, rng: &mut Rng) -> Episode {
        let mut episode = self.episodes[rng.usize(..self.episodes.len())].clone();
        episode.agent = label(self.number);
        episode
    }
}

/// An agent's name.
pub(super) fn label(number: u32) -> String {
    format!("agent-{number}")
}

/// Does what the orders on stdin say until they end.
pub(crate) fn run(args: &AgentArgs) -> anyhow::Result<ExitCode> {
    let agent = Agent::open(args)?;
    let mut workers = Some(agent.workers()?);
    let mut running = Running::default();
    Message::Ready.say();
    for order in io::stdin().lines() {
        match order?.parse()? {
            Order::Go => running = agent.go(workers.take().context("told to go twice")?)?,
            Order::Park => agent.park()?,
            Order::Stop => break,
        }
    }
    agent.finish(running)?;
    // A write that was parked never ends: the runtime is not waited for.
    agent.runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

struct Agent {
    shared: Arc<Shared>,
    manager: LockManager,
    agents: u32,
    without_locks: bool,
    runtime: Runtime,
}

/// The workers after the start.
#[derive(Default)]
struct Running {
    tasks: Vec<JoinHandle<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// The workers before the start.
struct Workers {
    tasks: Vec<TaskWorker>,
    threads: Vec<ThreadWorker>,
}

impl Agent {
    fn open(args: &AgentArgs) -> anyhow::Result<Agent> {
        let folder = WorkFolder::at(&args.dir);
        let shared = Shared {
            number: args.number,
            journal: Arc::new(Journal::open(&folder.journal(args.number))?),
            stop: AtomicBool::new(false),
            episodes: Episode::parse_all(&fs::read_to_string(folder.episodes())?)?,
            folder,
        };
        Ok(Agent {
            shared: Arc::new(shared),
            manager: LockManager::connect(&args.table).blocking()?,
            agents: args.agents,
            without_locks: args.without_locks,
            runtime: Builder::new_multi_thread().worker_threads(2).enable_time().build()?,
        })
    }

    /// Opens everything, before any agent writes: without locks a file may soon be damaged.
    fn workers(&self) -> anyhow::Result<Workers> {
        let seed = |worker| u64::from(self.shared.number) << 32 | u64::from(worker);
        let task = |number| {
            let access = self.access(&format!("task-{number}"))?;
            Ok(TaskWorker::open(&self.shared, access, seed(number))?)
        };
        let thread = |number| {
            let access = self.access(&format!("thread-{number}"))?;
            Ok(ThreadWorker::open(&self.shared, access, seed(TASKS + number))?)
        };
        Ok(Workers {
            tasks: (0..TASKS).map(task).collect::<anyhow::Result<_>>()?,
            threads: (0..THREADS).map(thread).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Answers the roll call, then sets every worker to work.
    fn go(&self, workers: Workers) -> anyhow::Result<Running> {
        let shared = &self.shared;
        let access = self.access("roll-call")?;
        let answer =
            roll_call::answer(&shared.folder, self.agents, shared.number, &self.manager, &access, &shared.journal);
        self.runtime.block_on(answer);
        let running = Running {
            tasks: workers.tasks.into_iter().map(|worker| self.runtime.spawn(worker.work())).collect(),
            threads: workers.threads.into_iter().map(|worker| thread::spawn(move || worker.work())).collect(),
        };
        let shared = Arc::clone(shared);
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(PROGRESS_EVERY).await;
                Message::Progress { operations: shared.journal.done() }.say();
            }
        });
        Ok(running)
    }

    /// Waits until every worker has finished what it began.
    fn finish(&self, running: Running) -> anyhow::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in running.tasks {
            self.runtime.block_on(task).context("a task")?;
        }
        for thread in running.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        }
        Ok(self.shared.journal.check()?)
    }

    /// Leaves a write half done, and this process in the middle of it.
    fn park(&self) -> anyhow::Result<()> {
        let (shared, access) = (Arc::clone(&self.shared), self.access("parked")?);
        self.runtime.spawn(async move {
            let episode = shared.episode(&mut Rng::with_seed(0));
            let Err(error) = park::park(&shared.folder, access, &shared.journal, &episode).await;
            Message::Failed { error: error.to_string() }.say();
        });
        Ok(())
    }

    /// Access in the name of one worker: tasks that shared an owner would not exclude each other.
    fn access(&self, worker: &str) -> anyhow::Result<Access> {
        let access = if self.without_locks {
            Access::unlocked()
        } else {
            Access::locked(self.manager.owner(&format!("{}/{worker}", label(self.shared.number)))?)
        };
        let journal = Arc::clone(&self.shared.journal);
        Ok(access.thinking(THINKING).observed(move |section| journal.section(section)))
    }
}
