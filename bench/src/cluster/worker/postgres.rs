//! PostgreSQL by another client: bare calls that write a row, a bare push, advisory locks.

use anyhow::{Context, Result};
use fallible_iterator::FallibleIterator;
use postgres::{Client, NoTls, Statement};
use tokio::runtime::Runtime;

use super::{Lock, tasks};

/// As many parameters as our calls have.
const ACQUIRE: &str = "SELECT raw_acquire($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const RELEASE: &str = "SELECT raw_release($1, $2, $3, $4, $5)";

/// What a pair's two calls say.
macro_rules! arguments {
    (0, $id:expr) => {
        &[
            &"bench",
            &"5f1d7c3a9be24680",
            $id,
            &"episodic_memory",
            &"write",
            &"81985529216486895",
            &"",
            &"",
            &"",
            &0_i32,
            &true,
            &0_i64,
        ]
    };
    (1, $id:expr) => {
        &[&"bench", &"5f1d7c3a9be24680", $id, &"episodic_memory", &"normal"]
    };
}

pub(super) struct Statements {
    client: Client,
    statements: [Statement; 2],
    id: String,
}

impl Statements {
    pub(super) fn new(url: &str) -> Result<Statements> {
        let mut client = Client::connect(url, NoTls)?;
        let statements = [client.prepare(ACQUIRE)?, client.prepare(RELEASE)?];
        Ok(Statements { client, statements, id: format!("raw-{}", std::process::id()) })
    }
}

impl Lock for Statements {
    fn lock(&mut self) -> Result<()> {
        self.client.query_one(&self.statements[0], arguments!(0, &self.id))?.try_get::<_, String>(0)?;
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        self.client.query_one(&self.statements[1], arguments!(1, &self.id))?.try_get::<_, String>(0)?;
        Ok(())
    }
}

/// A connection that any number of tasks can use, and the two statements, prepared.
pub(super) struct Pipelined {
    client: tokio_postgres::Client,
    statements: [tokio_postgres::Statement; 2],
}

impl Pipelined {
    /// On the runtime that will drive it.
    pub(super) async fn connect(url: &str) -> Result<Pipelined> {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        // The next call reports its end.
        tokio::spawn(connection);
        let statements = [client.prepare(ACQUIRE).await?, client.prepare(RELEASE).await?];
        Ok(Pipelined { client, statements })
    }

    pub(super) async fn acquire(&self, id: &str) -> Result<()> {
        self.client.query_one(&self.statements[0], arguments!(0, &id)).await?.try_get::<_, String>(0)?;
        Ok(())
    }

    pub(super) async fn release(&self, id: &str) -> Result<()> {
        self.client.query_one(&self.statements[1], arguments!(1, &id)).await?.try_get::<_, String>(0)?;
        Ok(())
    }
}

pub(super) struct StatementsAwaited {
    runtime: Runtime,
    connection: Pipelined,
    id: String,
}

impl StatementsAwaited {
    pub(super) fn new(url: &str) -> Result<StatementsAwaited> {
        let runtime = tasks::runtime()?;
        let connection = runtime.block_on(Pipelined::connect(url))?;
        Ok(StatementsAwaited { runtime, connection, id: format!("raw-{}", std::process::id()) })
    }
}

impl Lock for StatementsAwaited {
    fn lock(&mut self) -> Result<()> {
        self.runtime.block_on(self.connection.acquire(&self.id))
    }

    fn unlock(&mut self) -> Result<()> {
        self.runtime.block_on(self.connection.release(&self.id))
    }
}

pub(super) struct Advisory {
    client: Client,
    statements: [Statement; 2],
    name: String,
}

impl Advisory {
    pub(super) fn new(url: &str, name: &str) -> Result<Advisory> {
        let mut client = Client::connect(url, NoTls)?;
        let statements = [
            client.prepare("SELECT pg_advisory_lock(hashtextextended($1, 0))")?,
            client.prepare("SELECT pg_advisory_unlock(hashtextextended($1, 0))")?,
        ];
        Ok(Advisory { client, statements, name: name.to_owned() })
    }
}

impl Lock for Advisory {
    fn lock(&mut self) -> Result<()> {
        self.client.query_one(&self.statements[0], &[&self.name])?;
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        let was_held: bool = self.client.query_one(&self.statements[1], &[&self.name])?.try_get(0)?;
        anyhow::ensure!(was_held, "nothing is held");
        Ok(())
    }
}

/// A channel, with a connection to hear it and one to speak.
pub(super) struct Channel {
    hears: Client,
    speaks: Client,
    statement: Statement,
    channel: String,
}

impl Channel {
    pub(super) fn new(url: &str, name: &str, speak: &str) -> Result<Channel> {
        let mut hears = Client::connect(url, NoTls)?;
        let channel = name.to_owned();
        hears.batch_execute(&format!("LISTEN \"{channel}\""))?;
        let mut speaks = Client::connect(url, NoTls)?;
        let statement = speaks.prepare(speak)?;
        Ok(Channel { hears, speaks, statement, channel })
    }
}

impl Lock for Channel {
    fn lock(&mut self) -> Result<()> {
        self.hears.notifications().blocking_iter().next()?.context("the connection has ended")?;
        Ok(())
    }

    fn unlock(&mut self) -> Result<()> {
        self.speaks.execute(&self.statement, &[&self.channel])?;
        Ok(())
    }

    fn is_a_push(&self) -> bool {
        true
    }
}
