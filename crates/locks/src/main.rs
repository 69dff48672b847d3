//! The `locks` command: flock(1)'s job with names, fairness and inspection.
//!
//! One verb is one file; `cli` has the arguments, `exit` the exit codes, `output` the only door to
//! stdout, `table` what people read, `start` where the system hands over. `docs/cli.md` and `docs/json.md` describe
//! what users may rely on.

#![cfg_attr(all(target_os = "linux", target_env = "gnu", not(test)), no_main)]

mod break_lock;
mod cli;
mod deadlocks;
mod doctor;
mod exit;
mod output;
mod patience;
mod run;
mod space;
#[cfg(all(target_os = "linux", target_env = "gnu", not(test)))]
mod start;
mod stats;
mod status;
mod table;
mod usage;
mod watch;

use crate::{
    cli::{Cli, Verb},
    exit::{Code, Exit},
    output::Output,
};

#[cfg(any(test, not(all(target_os = "linux", target_env = "gnu"))))]
fn main() -> std::process::ExitCode {
    locks().0.into()
}

/// The command, from its arguments to its exit code.
fn locks() -> Code {
    // Before anything else is set up: somebody's command waits for this.
    if let Some(bound) = run::bound::Bound::asked(std::env::args_os()) {
        return bound.exec();
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return usage::tell(error),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    dispatch(&cli, &output).unwrap_or_else(|error| {
        if output::is_closed(&error) {
            return Exit::Success.into();
        }
        output.failure(&error);
        Exit::of(&error).into()
    })
}

fn dispatch(cli: &Cli, output: &Output) -> anyhow::Result<Code> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Run(args) => run::run(args, &space::open_with_lease(global, args.lease)?, output),
        Verb::Status(args) => status::run(args, &space::observe(global)?, output),
        Verb::Stats(args) => stats::run(args, global, output),
        Verb::Watch(args) => watch::run(args, &space::observe(global)?, output),
        Verb::Deadlocks(args) => deadlocks::run(args, &space::observe(global)?, output),
        Verb::Break(args) => break_lock::run(args, global, output),
        Verb::Doctor(args) => doctor::run(args, &space::observe(global)?, output),
    }
}
