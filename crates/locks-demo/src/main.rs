//! A demonstration: a fleet of agent processes on shared memories, one of them killed in mid-write,
//! and a check that trusts neither the locks nor the agents.
//!
//! The parent lays out the work folder, starts the agents (`locks-demo agent`), kills one and
//! checks. Agents keep journals; the verdict comes from comparing those with the databases.
//!
//! It is no verb of the command `locks`, which would then carry a database with it into every start.

mod agent;
mod cli;
mod clock;
mod counters;
mod fleet;
mod journal;
mod park;
mod protocol;
mod report;
mod report_text;
mod roll_call;
mod table;
mod task_worker;
mod thread_worker;
mod verify;
mod waits;
mod work_folder;

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
};

use agent_memories::{EPISODES, Episode};
use anyhow::Context;
use clap::Parser;
use concurrent_locks::LockManager;

use cli::{Cli, DemoArgs, Role, UsageError};
use fleet::Fleet;
use journal::Account;
use report::Report;
use verify::Findings;
use waits::Waits;
use work_folder::WorkFolder;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If nobody reads it, there is nobody left to inform.
            let _ = error.print();
            return if error.use_stderr() { cli::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let result = match &cli.role {
        Some(Role::Agent(args)) => agent::run(args),
        None => run(&cli.demo),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(anstream::stderr(), "locks-demo: {error:#}");
        if error.is::<UsageError>() { cli::USAGE.into() } else { cli::FAILED.into() }
    })
}

/// Runs the demo, on a table of its own in the work folder where no other locks are named.
fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let (text, episodes) = read_episodes(args).map_err(|error| UsageError(format!("{error:#}")))?;
    let folder = WorkFolder::create(args.dir.as_deref())?;
    folder.seed(&text, &episodes)?;
    let url = args.url.clone().unwrap_or_else(|| folder.table_url());
    let manager = LockManager::connect(&url).blocking()?;
    let capabilities = manager.capabilities();
    if !(capabilities.across_processes && capabilities.inspect) {
        let why = "the demo needs locks that reach other processes and show who waits, such as host:";
        return Err(UsageError(format!("{}: {why}", manager.url())).into());
    }
    let run = Fleet::start(args, &folder, &manager)?.run(args.seconds)?;

    let account = Account::read(&folder, args.agents)?;
    let findings = Findings::check(&folder, &episodes, &account)?;
    let waits = Waits::of(&account, run.kill.as_ref());
    let report = Report::new(args, &manager, &folder, &run, &account, &findings, &waits)?;
    if args.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(anstream::stdout(), "{report}")?;
    }
    if let Some(signal) = run.interrupted {
        return Ok(cli::of_signal(signal));
    }
    // Without locks losses are what was asked for.
    Ok(if report.is_well() || args.without_locks { ExitCode::SUCCESS } else { cli::LOST.into() })
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
