//! The arguments, and the exit codes.

use std::{fmt, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use super::agent::AgentArgs;

/// Something was lost, or the run is incomplete.
pub(super) const LOST: u8 = 1;
/// The command line, or what it names, is invalid.
pub(super) const USAGE: u8 = 64;
/// The demo itself did not get to its end.
pub(super) const FAILED: u8 = 74;

/// Runs a fleet of agent processes on shared SQLite memories and a JSON skill library, kills one
/// of them in mid-write, and checks that nothing was lost
///
/// Each agent runs async tasks and threads that read, change and rewrite the same few files. The
/// check at the end compares the files with the journals of the agents and does not ask the locks.
#[derive(Debug, Parser)]
#[command(name = "locks-demo", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) demo: DemoArgs,
    #[command(subcommand)]
    pub(super) role: Option<Role>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Role {
    /// One agent of the fleet (started by the demo)
    #[command(hide = true)]
    Agent(AgentArgs),
}

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// How many agent processes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(super) agents: u32,

    /// How long they work: 20s, 1m30s, or plain seconds
    #[arg(long, value_name = "TIME", default_value = "20", value_parser = working_time)]
    pub(super) seconds: Duration,

    /// Take no locks, to show what they prevent
    #[arg(long)]
    pub(super) without_locks: bool,

    /// The agents' input, one JSON object a line [default: episodes that come with the demo]
    #[arg(long, value_name = "FILE")]
    pub(super) episodes: Option<PathBuf>,

    /// Work in this folder and keep it [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,

    /// The locks to use [default: a table in the work folder]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,

    /// Print JSON (see docs/demo.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// From a second to an hour.
fn working_time(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if (1.0..=3600.0).contains(&time.as_secs_f64()) { Ok(time) } else { Err("it takes from 1s to 1h".to_owned()) }
}

/// Arguments that were understood and cannot be used.
#[derive(Debug)]
pub(super) struct UsageError(pub(super) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The exit code for an end by this signal, as in shells.
pub(super) fn of_signal(signal: i32) -> ExitCode {
    u8::try_from(128 + signal).unwrap_or(u8::MAX).into()
}
