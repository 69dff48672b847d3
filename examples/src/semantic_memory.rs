//! [`SemanticMemoryStore`]: what is known.

use std::path::Path;

use concurrent_locks::Mode;
use rusqlite::{OptionalExtension, params};

use crate::{
    access::{Access, Held},
    database::Database,
    error::Error,
    points::{Balance, Points},
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS facts (
        topic TEXT PRIMARY KEY, statement TEXT NOT NULL DEFAULT '', observations INTEGER NOT NULL DEFAULT 0,
        points INTEGER NOT NULL DEFAULT 0, moves INTEGER NOT NULL DEFAULT 0
    );";

/// What is known about a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// The latest statement.
    pub statement: String,
    /// How often something was observed about the topic.
    pub observations: i64,
}

/// What is known, in SQLite. Lock: `semantic_db:<file name>`.
#[derive(Debug)]
pub struct SemanticMemoryStore {
    database: Database,
    access: Access,
}

impl SemanticMemoryStore {
    /// Opens or creates the database; its sections are guarded as `access` says.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn open(path: &Path, access: Access) -> Result<SemanticMemoryStore, Error> {
        Ok(SemanticMemoryStore { database: Database::open(path, "semantic_db", SCHEMA)?, access })
    }

    /// Records an observation: the statement replaces the last one, the count goes up by one.
    ///
    /// # Errors
    /// [`Error::Lock`] (nothing was done), [`Error::Sqlite`].
    pub async fn observe(&self, topic: &str, statement: &str) -> Result<(), Error> {
        let held = self.access.write(self.resource()).await?;
        let mut fact = self.fact(topic)?.unwrap_or_default();
        self.access.think().await;
        fact.observations += 1;
        self.set_fact(topic, statement, fact.observations)?;
        held.release()?;
        Ok(())
    }

    /// What is known about a topic.
    ///
    /// # Errors
    /// [`Error::Lock`], [`Error::Sqlite`].
    pub async fn lookup(&self, topic: &str) -> Result<Option<Fact>, Error> {
        let _held = self.access.read(self.resource()).await?;
        self.fact(topic)
    }

    fn fact(&self, topic: &str) -> Result<Option<Fact>, Error> {
        let connection = self.database.connection();
        let fact = connection
            .query_row("SELECT statement, observations FROM facts WHERE topic = ?1", [topic], |row| {
                Ok(Fact { statement: row.get(0)?, observations: row.get(1)? })
            })
            .optional()?;
        Ok(fact)
    }

    fn set_fact(&self, topic: &str, statement: &str, observations: i64) -> Result<(), Error> {
        self.database.connection().execute(
            "INSERT INTO facts (topic, statement, observations) VALUES (?1, ?2, ?3)
             ON CONFLICT (topic) DO UPDATE SET statement = excluded.statement, observations = excluded.observations",
            params![topic, statement, observations],
        )?;
        Ok(())
    }
}

impl Points for SemanticMemoryStore {
    fn resource(&self) -> &str {
        self.database.resource()
    }

    fn balance(&self, held: &Held, topic: &str) -> Result<Balance, Error> {
        held.assert_holds(self.resource(), Mode::Read);
        Balance::read(&self.database, "SELECT points, moves FROM facts WHERE topic = ?1", topic)
    }

    fn set_balance(&self, held: &Held, topic: &str, balance: Balance) -> Result<(), Error> {
        held.assert_holds(self.resource(), Mode::Write);
        let statement = "INSERT INTO facts (topic, points, moves) VALUES (?1, ?2, ?3)
             ON CONFLICT (topic) DO UPDATE SET points = excluded.points, moves = excluded.moves";
        balance.write(&self.database, statement, topic)
    }
}
