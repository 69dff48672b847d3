//! Who is compared: locks on a server, and what a server can do at best without any lock.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Where the Python of the peers is. `cargo xtask bench` prepares it and sets this.
const PYTHON_VARIABLE: &str = "LOCKS_BENCH_PYTHON";
/// Where the `node_modules` of the peers is.
const NODE_VARIABLE: &str = "LOCKS_BENCH_NODE";

/// The kinds of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Redis,
    Postgres,
}

/// The contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    OursRedis,
    OursRedisAwaited,
    OursPostgres,
    OursPostgresAwaited,
    /// Two EVALSHA of a script that does nothing, with as many keys and arguments as ours.
    Scripts,
    ScriptsAwaited,
    /// Two prepared calls of functions that write one row each.
    Statements,
    StatementsAwaited,
    /// LPUSH in one process, BLPOP in another.
    Blpop,
    /// PUBLISH in one process, a subscriber in another.
    Publish,
    /// pg_notify in one process, LISTEN in another.
    Notify,
    /// The same by a transaction that writes a row too, as a durable hand-off must.
    NotifyRow,
    Rslock,
    Advisory,
    RedisPy,
    PythonRedisLock,
    NodeRedlock,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::OursRedis => "ours, redis://, .blocking()",
            Kind::OursRedisAwaited => "ours, redis://, .await",
            Kind::OursPostgres => "ours, postgres://, .blocking()",
            Kind::OursPostgresAwaited => "ours, postgres://, .await",
            Kind::Scripts => "two EVALSHA",
            Kind::ScriptsAwaited => "two EVALSHA, .await",
            Kind::Statements => "two prepared calls, a row each",
            Kind::StatementsAwaited => "two prepared calls, .await",
            Kind::Blpop => "LPUSH wakes BLPOP",
            Kind::Publish => "PUBLISH wakes a subscriber",
            Kind::Notify => "NOTIFY wakes LISTEN",
            Kind::NotifyRow => "NOTIFY and a row written",
            Kind::Rslock => "rslock",
            Kind::Advisory => "pg_advisory_lock",
            Kind::RedisPy => "redis-py Lock",
            Kind::PythonRedisLock => "python-redis-lock",
            Kind::NodeRedlock => "node-redlock",
        }
    }

    pub(super) const fn server(self) -> Server {
        match self {
            Kind::OursPostgres
            | Kind::OursPostgresAwaited
            | Kind::Statements
            | Kind::StatementsAwaited
            | Kind::Notify
            | Kind::NotifyRow
            | Kind::Advisory => Server::Postgres,
            _ => Server::Redis,
        }
    }

    /// Starts as `WORKER URL LOCK`: this program itself, or the one in the peer's language.
    pub(super) fn command(self) -> Result<Command> {
        let script = |file| Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(file);
        match self {
            Kind::RedisPy | Kind::PythonRedisLock => {
                let Some(python) = env::var_os(PYTHON_VARIABLE) else {
                    bail!("{PYTHON_VARIABLE} is not set (`cargo xtask bench` does it)")
                };
                let mut command = Command::new(python);
                command.arg(script("worker.py")).arg(format!("{self:?}"));
                Ok(command)
            }
            Kind::NodeRedlock => {
                let Some(folder) = env::var_os(NODE_VARIABLE).map(PathBuf::from) else {
                    bail!("{NODE_VARIABLE} is not set (`cargo xtask bench` does it where there is npm)")
                };
                let mut command = Command::new("node");
                command.arg(script("worker.js")).env("NODE_PATH", folder.join("node_modules"));
                Ok(command)
            }
            ours => {
                let mut command = Command::new(env::current_exe()?);
                command.arg("worker").arg(serde_json::to_string(&ours)?);
                Ok(command)
            }
        }
    }
}
