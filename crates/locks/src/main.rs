//! The `locks` command: flock(1)'s job with names, fairness and inspection.
//!
//! One verb is one file; `cli` has the arguments, `exit` the exit codes, `output` the only door to
//! stdout, `table` what people read. `docs/cli.md` and `docs/json.md` describe what users may rely on.

mod break_lock;
mod cli;
mod deadlocks;
mod demo;
mod doctor;
mod exit;
mod output;
mod patience;
mod run;
mod space;
mod stats;
mod status;
mod table;
mod usage;
mod watch;

use std::process::ExitCode;

use crate::{
    cli::{Cli, Verb},
    exit::Exit,
    output::Output,
};

fn main() -> ExitCode {
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

fn dispatch(cli: &Cli, output: &Output) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Run(args) => run::run(args, &space::open_with_lease(global, args.lease)?, output),
        Verb::Status(args) => status::run(args, &space::observe(global)?, output),
        Verb::Stats(args) => stats::run(args, global, output),
        Verb::Watch(args) => watch::run(args, &space::observe(global)?, output),
        Verb::Deadlocks(args) => deadlocks::run(args, &space::observe(global)?, output),
        Verb::Break(args) => break_lock::run(args, global, output),
        Verb::Doctor(args) => doctor::run(args, &space::observe(global)?, output),
        Verb::Demo(args) => demo::run(args, global, output),
        Verb::DemoAgent(args) => demo::run_agent(args),
    }
}
