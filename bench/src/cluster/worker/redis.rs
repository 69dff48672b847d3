//! Redis by other clients: bare scripts, bare pushes, rslock.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redis::{AsyncConnectionConfig, Client, Cmd, Commands, Connection, Script, Value, aio::MultiplexedConnection};
use rslock::LockManager;
use tokio::runtime::Runtime;

use super::{Lock, tasks};

/// As long as our scripts' answers, and nothing else.
const NOTHING: &str =
    r#"return '{"granted":{"token":1732423701123456,"since":1732423701123456,"waited":0,"owner":"o"}}'"#;
const KEYS: [&str; 8] = ["requests", "holders", "queue", "seen", "sessions", "counters", "events", "orders"];
/// Session, request, name, mode, owner, ancestors, label, note, priority, wait, max_hold.
const ACQUIRE: [&str; 11] = [
    "5f1d7c3a9be24680",
    "5f1d7c3a9be24680-42",
    "episodic_memory",
    "write",
    "81985529216486895",
    "",
    "",
    "",
    "0",
    "1",
    "0",
];
const RELEASE: [&str; 4] = ["5f1d7c3a9be24680", "5f1d7c3a9be24680-42", "episodic_memory", "normal"];

fn call(arguments: &[&str]) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(Script::new(NOTHING).get_hash()).arg(KEYS.len());
    KEYS.iter().for_each(|key| _ = call.arg(format!("locks:{{bench}}:{key}")));
    arguments.iter().for_each(|argument| _ = call.arg(argument));
    call
}

/// The two calls of a pair.
pub(super) fn calls() -> [Cmd; 2] {
    [call(&ACQUIRE), call(&RELEASE)]
}

pub(super) struct Scripts {
    connection: Connection,
    calls: [Cmd; 2],
}

impl Scripts {
    pub(super) fn new(url: &str) -> Result<Scripts> {
        let mut connection = Client::open(url)?.get_connection()?;
        redis::cmd("SCRIPT").arg("LOAD").arg(NOTHING).exec(&mut connection)?;
        Ok(Scripts { connection, calls: calls() })
    }
}

impl Lock for Scripts {
    fn lock(&mut self) -> Result<()> {
        self.calls[0].query::<String>(&mut self.connection)?;
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        self.calls[1].query::<String>(&mut self.connection)?;
        Ok(())
    }
}

/// One connection that any number of tasks can use, with the script loaded.
pub(super) async fn multiplexed(url: &str) -> Result<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await?;
    redis::cmd("SCRIPT").arg("LOAD").arg(NOTHING).exec_async(&mut connection).await?;
    Ok(connection)
}

pub(super) struct ScriptsAwaited {
    runtime: Runtime,
    connection: MultiplexedConnection,
    calls: [Cmd; 2],
}

impl ScriptsAwaited {
    pub(super) fn new(url: &str) -> Result<ScriptsAwaited> {
        let runtime = tasks::runtime()?;
        let connection = runtime.block_on(multiplexed(url))?;
        Ok(ScriptsAwaited { runtime, connection, calls: calls() })
    }

    fn call(&mut self, index: usize) -> Result<()> {
        self.runtime.block_on(self.calls[index].query_async::<String>(&mut self.connection))?;
        Ok(())
    }
}

impl Lock for ScriptsAwaited {
    fn lock(&mut self) -> Result<()> {
        self.call(0)
    }

    fn unlock(&mut self) -> Result<()> {
        self.call(1)
    }
}

/// A list on which one waits for what another puts there.
pub(super) struct List {
    connection: Connection,
    key: String,
}

impl List {
    pub(super) fn new(url: &str, name: &str) -> Result<List> {
        Ok(List { connection: Client::open(url)?.get_connection()?, key: format!("list:{name}") })
    }
}

impl Lock for List {
    fn lock(&mut self) -> Result<()> {
        let (_, _): (String, String) = self.connection.blpop(&self.key, 0.0)?;
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        self.connection.lpush::<_, _, ()>(&self.key, "go")?;
        Ok(())
    }

    fn is_a_push(&self) -> bool {
        true
    }
}

/// A channel, with a connection to hear it and one to speak.
pub(super) struct Channel {
    hears: Connection,
    speaks: Connection,
    channel: String,
}

impl Channel {
    pub(super) fn new(url: &str, name: &str) -> Result<Channel> {
        let client = Client::open(url)?;
        let channel = format!("channel:{name}");
        let mut hears = client.get_connection()?;
        hears.send_packed_command(&redis::cmd("SUBSCRIBE").arg(&channel).get_packed_command())?;
        hears.recv_response()?;
        Ok(Channel { hears, speaks: client.get_connection()?, channel })
    }
}

impl Lock for Channel {
    fn lock(&mut self) -> Result<()> {
        let heard = self.hears.recv_response()?;
        ensure!(matches!(heard, Value::Array(_) | Value::Push { .. }), "{heard:?} is no message");
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        self.speaks.publish::<_, _, ()>(&self.channel, "go")?;
        Ok(())
    }

    fn is_a_push(&self) -> bool {
        true
    }
}

pub(super) struct Rslock {
    runtime: Runtime,
    manager: LockManager,
    name: String,
    held: Option<rslock::Lock>,
}

/// Longer than any run.
const LEASE: Duration = Duration::from_secs(60);

impl Rslock {
    pub(super) fn new(url: &str, name: &str) -> Result<Rslock> {
        Ok(Rslock {
            runtime: tasks::runtime()?,
            manager: LockManager::new(vec![url]),
            name: name.to_owned(),
            held: None,
        })
    }
}

impl Lock for Rslock {
    fn lock(&mut self) -> Result<()> {
        // It tries again every 0 to 200 ms, for ever.
        let held = self.runtime.block_on(self.manager.acquire_no_guard(self.name.as_bytes(), LEASE));
        self.held = Some(held?);
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        let held = self.held.take().context("nothing is held")?;
        self.runtime.block_on(self.manager.unlock(&held));
        Ok(())
    }
}
