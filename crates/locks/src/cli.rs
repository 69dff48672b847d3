//! The arguments, as clap parses them. Types only: the file of each verb gives them their meaning.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    exit,
    patience::{self, Patience},
};

/// Named read/write locks for shell commands and scripts: fair, crash-safe, and easy to inspect
#[derive(Debug, Parser)]
#[command(name = "locks", version, max_term_width = 100, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// Parses this process's arguments.
    pub(crate) fn read() -> Result<Cli, clap::Error> {
        Cli::of(&std::env::args_os().collect::<Vec<_>>())
    }

    /// A script may start `locks run` thousands of times, and the words of seven verbs take longer to put together
    /// than those of one. So that verb is read by itself first; if that fails, the whole of it says why.
    fn of(arguments: &[OsString]) -> Result<Cli, clap::Error> {
        if let [_, words @ ..] = arguments
            && words.first().is_some_and(|verb| verb == "run")
            && let Ok(Run { global, args }) = Run::try_parse_from(words)
        {
            return Ok(Cli { global, verb: Verb::Run(args) });
        }
        Cli::try_parse_from(arguments)
    }
}

/// `locks run` by itself.
#[derive(Debug, Parser)]
struct Run {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    args: RunArgs,
}

/// The options of every verb.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The locks to use: host:, host:SPACE, host:/path/to/table, file:DIR, redis://HOST or
    /// postgres://HOST; overrides --space
    /// [env: CONCURRENT_LOCKS_URL] [default: host:]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// Short for --url host:SPACE [env: LOCKS_SPACE, for host: without a space]
    #[arg(long, global = true, value_name = "SPACE")]
    pub(crate) space: Option<String>,

    /// Print JSON (see docs/json.md)
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print only errors and warnings to stderr
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command while holding one or several locks
    ///
    /// Waits for the locks, runs CMD, releases the locks and exits with CMD's exit code. CMD finds
    /// its fencing token in LOCKS_TOKEN, the lock's name in LOCKS_NAME (several: one per line, in the same
    /// order) and its owner in LOCKS_OWNER. A `locks run` inside CMD inherits from that owner
    /// and may re-enter the same locks; several of them take turns.
    Run(RunArgs),
    /// Show holders and waiters
    ///
    /// With --quiet it prints nothing; its exit code is 0 if all NAMEs are free and 1 if one is held.
    Status(StatusArgs),
    /// Show how often and how long locks were waited for and held
    Stats(StatsArgs),
    /// Show events, live
    Watch(WatchArgs),
    /// Show deadlocks, suspiciously long waits, and contradictory lock orders
    Deadlocks(DeadlocksArgs),
    /// Take a lock away from its holder
    ///
    /// Takes the lock from the holder with this fencing token and hands it to the next waiter. The
    /// holder is not stopped: it continues as if it held the lock, and learns of its loss only at
    /// release (at once where locks have leases: redis://, postgres://). Break a lock only when its
    /// holder can do no more harm, or where the protected resource itself refuses old fencing tokens.
    Break(BreakArgs),
    /// Check the lock table: capacity, permissions, dead processes
    Doctor(DoctorArgs),
}

#[derive(Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct RunArgs {
    /// Share the locks with other readers
    #[arg(short = 's', long, visible_alias = "shared", conflicts_with = "write")]
    pub(crate) read: bool,

    /// Hold the locks exclusively (the default)
    #[arg(short = 'x', visible_short_alias = 'e', long, visible_alias = "exclusive")]
    pub(crate) write: bool,

    /// Give up after this time: 10s, 1m30s, 0.5 (seconds), or never
    #[arg(
        short = 'w',
        long,
        visible_alias = "wait",
        value_name = "TIME",
        default_value = "never",
        allow_negative_numbers = true
    )]
    pub(crate) timeout: Patience,

    /// Do not wait at all
    #[arg(short, long, visible_alias = "nb")]
    pub(crate) nonblock: bool,

    /// Priority: P counts like having arrived P seconds earlier (-128 to 127)
    #[arg(short, long, value_name = "P", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i8,

    /// The owner's name, as others see it [default: the owner of the outer `locks run`, else CMD and the process id]
    #[arg(short, long, value_name = "LABEL")]
    pub(crate) owner: Option<String>,

    /// The purpose, as others see it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,

    /// Exit code when the locks could not be acquired in time
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 75)]
    pub(crate) conflict_exit_code: u8,

    /// What happens to CMD if `locks run` itself is killed with SIGKILL [default: hold; term with redis://, postgres://]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) if_killed: Option<Orphan>,

    /// How long the locks stay held while their server is out of reach: 10s, 1m30s, 0.5 (seconds). CMD is
    /// ended before they expire. Only for redis:// and postgres:// [default: that of the URL, else 10s]
    #[arg(long, value_name = "TIME", value_parser = patience::time)]
    pub(crate) lease: Option<Duration>,

    /// How several `locks run` inside CMD share the locks of this one
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Reenter::Turns)]
    pub(crate) reenter: Reenter,

    /// Replace this process with CMD: the locks are held until CMD and all processes that it started have
    /// ended (host:, file:)
    #[arg(short = 'F', long, conflicts_with_all = ["if_killed", "report"])]
    pub(crate) no_fork: bool,

    /// Write the outcome to this file, as JSON (the Run of docs/json.md), separate from CMD's output
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Print how long the wait was
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Run this line with `sh -c` instead of `-- CMD`; with one NAME only
    #[arg(short = 'c', long = "command", value_name = "LINE", conflicts_with = "command")]
    pub(crate) line: Option<OsString>,

    /// Name of a lock; several are acquired all or nothing, in an order that cannot deadlock
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// The command to run, after `--`
    #[arg(required_unless_present = "line", last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// How the children of an outer `locks run` share its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reenter {
    /// Take turns: one writer, or several readers, at a time
    Turns,
    /// All at once
    Together,
}

/// What happens to the command when `locks run` is killed and cannot end it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Orphan {
    /// It continues, and the locks stay held until it and all processes that it started have ended (host:, file:)
    Hold,
    /// It gets SIGTERM and can clean up; where the locks cannot stay held, it does so without them
    Term,
    /// It gets SIGKILL, whatever it is doing; otherwise like term
    Kill,
    /// It continues, without the locks
    Leave,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Names of locks [default: all]
    pub(crate) names: Vec<String>,

    /// Also list free locks
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Also show fencing tokens, priorities and hosts
    #[arg(short, long)]
    pub(crate) long: bool,

    /// List all waiters of a long queue
    #[arg(long)]
    pub(crate) all_waiters: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Name of a lock [default: all]
    pub(crate) name: Option<String>,

    /// Also show percentiles, the kinds of failures, and current holders and waiters
    #[arg(short, long)]
    pub(crate) long: bool,

    /// Reset the counters after showing them
    #[arg(long)]
    pub(crate) reset: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Names of locks [default: all]
    pub(crate) names: Vec<String>,

    /// Stop after N events
    #[arg(short = 'c', long, value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Stop after this time: 10s, 1m30s, 0.5 (seconds), or never
    #[arg(long, value_name = "TIME", default_value = "never")]
    pub(crate) seconds: Patience,
}

#[derive(Args, Debug)]
pub(crate) struct DeadlocksArgs {
    /// Report waits longer than this: 10s, 1m30s, 0.5 (seconds)
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = patience::time)]
    pub(crate) suspect_after: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// List all processes, however many there are
    #[arg(short, long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BreakArgs {
    /// Name of the lock
    pub(crate) name: String,

    /// Fencing token of the grant to break, as `locks status -l` shows it
    #[arg(short, long, value_name = "N")]
    pub(crate) token: Option<u64>,

    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn run_by_itself_means_what_it_means_among_the_verbs() {
        for line in [
            "locks run a -- true",
            "locks run a b --read -- git -C x run --help",
            "locks run --url file:/x --json -q a -- true",
            "locks run --space s -w 1m30s -p -5 -E 9 --owner me --note why a -- true",
            "locks run -F --reenter together help -- true",
            "locks run -n --lease 2s --if-killed term -c line a",
            "locks run -e --wait inf --verbose --report f a -- run",
        ] {
            let words = words(line);
            let alone = Run::try_parse_from(&words[1..]).unwrap();
            let among = Cli::try_parse_from(&words).unwrap();
            assert_eq!(format!("{:?}", alone.global), format!("{:?}", among.global), "{line}");
            assert_eq!(format!("{:?}", Verb::Run(alone.args)), format!("{:?}", among.verb), "{line}");
            assert!(matches!(Cli::of(&words).unwrap().verb, Verb::Run(_)));
        }
    }

    #[test]
    fn what_run_does_not_understand_is_explained_by_the_whole_command() {
        for line in
            ["locks run", "locks run --help", "locks run -h", "locks run --version", "locks run a", "locks run a b"]
        {
            let words = words(line);
            let (told, expected) = (Cli::of(&words).unwrap_err(), Cli::try_parse_from(&words).unwrap_err());
            assert_eq!(told.to_string(), expected.to_string());
        }
        assert!(matches!(Cli::of(&words("locks --json run a -- true")).unwrap().verb, Verb::Run(_)));
        assert!(matches!(Cli::of(&words("locks status run")).unwrap().verb, Verb::Status(_)));
    }
}
