//! Starts the shared servers around a command.

use std::process::ExitCode;

use concurrent_locks_servers::{Error, POSTGRES_VARIABLE, Postgres, REDIS_VARIABLE, Redis, run_until_we_end};

const HELP: &str = "\
test-servers run [--redis] [--postgres] -- COMMAND...

Starts real servers on loopback (both, if none is named), tells COMMAND their URLs in LOCKS_TEST_REDIS and
LOCKS_TEST_POSTGRES, and ends them after it, however that came. Ends with COMMAND's exit code.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let split = arguments.iter().position(|argument| argument == "--").map(|at| arguments.split_at(at));
    let Some(([run, servers @ ..], [_, program, rest @ ..])) = split else { return usage() };
    let known = |server: &String| ["--redis", "--postgres"].contains(&server.as_str());
    if run != "run" || !servers.iter().all(known) {
        return usage();
    }
    let wanted = |server: &str| servers.is_empty() || servers.iter().any(|one| one == server);
    match around(wanted("--redis"), wanted("--postgres"), program, rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("test-servers: {error}");
            ExitCode::from(125)
        }
    }
}

fn around(redis: bool, postgres: bool, program: &str, arguments: &[String]) -> Result<ExitCode, Error> {
    let redis = redis.then(Redis::start).transpose()?;
    // As the shared one is.
    let postgres = postgres.then(|| Postgres::options().durable().start()).transpose()?;
    let mut environment = Vec::new();
    environment.extend(redis.as_ref().map(|server| (REDIS_VARIABLE, server.url())));
    environment.extend(postgres.as_ref().map(|server| (POSTGRES_VARIABLE, server.url("postgres"))));
    let status = run_until_we_end(program, arguments, &environment)?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    let code = status.code().or(signal).and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn usage() -> ExitCode {
    eprintln!("{HELP}");
    ExitCode::from(64)
}
