//! `locks demo`: a fleet of agent processes on shared memories, one of them killed in mid-write,
//! and a check that trusts neither the locks nor the agents.
//!
//! The parent lays out the work folder, starts the agents (`locks demo-agent`), kills one and
//! checks. Agents keep journals; the verdict comes from comparing those with the databases.

mod agent;
mod clock;
mod counters;
mod fleet;
mod journal;
mod park;
mod protocol;
mod report;
mod report_text;
mod roll_call;
mod task_worker;
mod thread_worker;
mod verify;
mod waits;
mod work_folder;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use agent_memories::{EPISODES, Episode};
use anyhow::Context;
use concurrent_locks::LockManager;

use crate::{
    cli::Global,
    exit::{self, Exit, UsageError},
    output::Output,
    patience, space,
};
use fleet::Fleet;
use journal::Account;
use report::Report;
use verify::Findings;
use waits::Waits;
use work_folder::WorkFolder;

pub(crate) use agent::{AgentArgs, run as run_agent};

/// Runs a fleet of agent processes on shared SQLite memories and a JSON skill library, kills one
/// of them in mid-write, and checks that nothing was lost.
///
/// Each agent runs async tasks and threads that read, change and rewrite the same few files. The
/// check at the end compares the files with the journals of the agents and does not ask the locks.
#[derive(clap::Args, Debug)]
pub(crate) struct DemoArgs {
    /// How many agent processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=64))]
    agents: u32,

    /// How long they work
    #[arg(long, value_name = "TIME", default_value = "20", value_parser = working_time)]
    seconds: Duration,

    /// Take no locks, to show what they prevent
    #[arg(long)]
    without_locks: bool,

    /// The agents' input, one JSON object a line [default: episodes that come with the command]
    #[arg(long, value_name = "FILE")]
    episodes: Option<PathBuf>,

    /// Work in this folder and keep it [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the demo, on a table of its own in the work folder where no other locks are named.
pub(crate) fn run(args: &DemoArgs, global: &Global, output: &Output) -> anyhow::Result<ExitCode> {
    let (text, episodes) = read_episodes(args).map_err(|error| UsageError(format!("{error:#}")))?;
    let folder = WorkFolder::create(args.dir.as_deref())?;
    folder.seed(&text, &episodes)?;
    let manager = match (&global.url, &global.space) {
        (None, None) => LockManager::connect(&folder.table_url()).blocking()?,
        _ => space::open(global)?,
    };
    let capabilities = manager.capabilities();
    if !(capabilities.across_processes && capabilities.inspect) {
        let why = "the demo needs locks that reach other processes and show who waits, such as host:";
        return Err(UsageError(format!("{}: {why}", manager.url())).into());
    }
    let run = Fleet::start(args, &folder, &manager)?.run(args.seconds, output)?;

    let account = Account::read(&folder, args.agents)?;
    let findings = Findings::check(&folder, &episodes, &account)?;
    let waits = Waits::of(&account, run.kill.as_ref());
    let report = Report::new(args, &manager, &folder, &run, &account, &findings, &waits)?;
    if output.json() {
        output.object(&report)?;
    } else {
        output.text(&report)?;
    }
    if let Some(signal) = run.interrupted {
        return Ok(exit::of_signal(signal).into());
    }
    // Without locks losses are what was asked for.
    Ok(if report.is_well() || args.without_locks { Exit::Success.into() } else { Exit::Negative.into() })
}

/// From a second to an hour.
fn working_time(text: &str) -> Result<Duration, String> {
    let time = patience::time(text)?;
    if (1.0..=3600.0).contains(&time.as_secs_f64()) { Ok(time) } else { Err("it takes from 1s to 1h".to_owned()) }
}

fn read_episodes(args: &DemoArgs) -> anyhow::Result<(String, Vec<Episode>)> {
    let text = match &args.episodes {
        Some(path) => fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => EPISODES.to_owned(),
    };
    let episodes = Episode::parse_all(&text).with_context(|| match &args.episodes {
        Some(path) => path.display().to_string(),
        None => "the built-in episodes".to_owned(),
    })?;
    Ok((text, episodes))
}
