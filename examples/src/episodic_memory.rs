//! [`EpisodicMemoryStore`]: what happened.

use std::path::Path;

use concurrent_locks::Mode;
use rusqlite::{OptionalExtension, Row, params};

use crate::{
    access::{Access, Held},
    database::Database,
    episode::{Episode, Outcome},
    error::Error,
    points::{Balance, Points},
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS episodes (
        id INTEGER PRIMARY KEY, agent TEXT NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL, site TEXT NOT NULL,
        skill TEXT NOT NULL, outcome TEXT NOT NULL, importance INTEGER NOT NULL, text TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS episodes_by_site ON episodes (site, importance);
    CREATE TABLE IF NOT EXISTS sites (
        site TEXT PRIMARY KEY, episodes INTEGER NOT NULL DEFAULT 0,
        points INTEGER NOT NULL DEFAULT 0, moves INTEGER NOT NULL DEFAULT 0
    );";

/// What happened, in SQLite. Lock: `episodic_db:<file name>`.
#[derive(Debug)]
pub struct EpisodicMemoryStore {
    database: Database,
    access: Access,
}

impl EpisodicMemoryStore {
    /// Opens or creates the database; its sections are guarded as `access` says.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn open(path: &Path, access: Access) -> Result<EpisodicMemoryStore, Error> {
        Ok(EpisodicMemoryStore { database: Database::open(path, "episodic_db", SCHEMA)?, access })
    }

    /// Adds an episode and counts it for its site; returns the new count.
    ///
    /// # Errors
    /// [`Error::Lock`] (nothing was done), [`Error::Sqlite`].
    pub async fn add(&self, episode: &Episode) -> Result<i64, Error> {
        let held = self.access.write(self.resource()).await?;
        self.insert(episode)?;
        let count = self.count(&episode.site)?;
        self.access.think().await;
        self.set_count(&episode.site, count + 1)?;
        held.release()?;
        Ok(count + 1)
    }

    /// The most important episodes of a site.
    ///
    /// # Errors
    /// [`Error::Lock`], [`Error::Sqlite`].
    pub async fn recall(&self, site: &str, limit: usize) -> Result<Vec<Episode>, Error> {
        let _held = self.access.read(self.resource()).await?;
        let connection = self.database.connection();
        let mut query = connection.prepare_cached(
            "SELECT agent, task, kind, site, skill, outcome, importance, text FROM episodes
             WHERE site = ?1 ORDER BY importance DESC, id DESC LIMIT ?2",
        )?;
        let episodes = query.query_map(params![site, limit as i64], episode_of)?.collect::<Result<_, _>>()?;
        Ok(episodes)
    }

    fn insert(&self, episode: &Episode) -> Result<(), Error> {
        self.database.connection().execute(
            "INSERT INTO episodes (agent, task, kind, site, skill, outcome, importance, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                episode.agent,
                episode.task,
                episode.kind,
                episode.site,
                episode.skill,
                match episode.outcome {
                    Outcome::Success => "success",
                    Outcome::Partial => "partial",
                    Outcome::Failure => "failure",
                },
                episode.importance,
                episode.text,
            ],
        )?;
        Ok(())
    }

    fn count(&self, site: &str) -> Result<i64, Error> {
        let connection = self.database.connection();
        let count =
            connection.query_row("SELECT episodes FROM sites WHERE site = ?1", [site], |row| row.get(0)).optional()?;
        Ok(count.unwrap_or(0))
    }

    fn set_count(&self, site: &str, count: i64) -> Result<(), Error> {
        self.database.connection().execute(
            "INSERT INTO sites (site, episodes) VALUES (?1, ?2)
             ON CONFLICT (site) DO UPDATE SET episodes = excluded.episodes",
            params![site, count],
        )?;
        Ok(())
    }
}

fn episode_of(row: &Row<'_>) -> rusqlite::Result<Episode> {
    Ok(Episode {
        agent: row.get(0)?,
        task: row.get(1)?,
        kind: row.get(2)?,
        site: row.get(3)?,
        skill: row.get(4)?,
        outcome: match row.get_ref(5)?.as_str()? {
            "success" => Outcome::Success,
            "partial" => Outcome::Partial,
            _ => Outcome::Failure,
        },
        importance: row.get(6)?,
        text: row.get(7)?,
    })
}

impl Points for EpisodicMemoryStore {
    fn resource(&self) -> &str {
        self.database.resource()
    }

    fn balance(&self, held: &Held, topic: &str) -> Result<Balance, Error> {
        held.assert_holds(self.resource(), Mode::Read);
        Balance::read(&self.database, "SELECT points, moves FROM sites WHERE site = ?1", topic)
    }

    fn set_balance(&self, held: &Held, topic: &str, balance: Balance) -> Result<(), Error> {
        held.assert_holds(self.resource(), Mode::Write);
        let statement = "INSERT INTO sites (site, points, moves) VALUES (?1, ?2, ?3)
             ON CONFLICT (site) DO UPDATE SET points = excluded.points, moves = excluded.moves";
        balance.write(&self.database, statement, topic)
    }
}
