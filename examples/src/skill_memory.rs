//! [`SkillMemoryStore`]: how well skills work.

use std::path::Path;

use rusqlite::{OptionalExtension, Row, params};

use crate::{access::Access, database::Database, error::Error};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS skills (
        skill TEXT PRIMARY KEY, uses INTEGER NOT NULL DEFAULT 0, successes INTEGER NOT NULL DEFAULT 0
    );";

/// How often a skill was used, and how often it helped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkillRecord {
    /// The skill.
    pub skill: String,
    /// Times it was used.
    pub uses: i64,
    /// Times it helped.
    pub successes: i64,
}

/// How well skills work, in SQLite. Lock: `skill_db:<file name>`.
#[derive(Debug)]
pub struct SkillMemoryStore {
    database: Database,
    access: Access,
}

impl SkillMemoryStore {
    /// Opens or creates the database; its sections are guarded as `access` says.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn open(path: &Path, access: Access) -> Result<SkillMemoryStore, Error> {
        Ok(SkillMemoryStore { database: Database::open(path, "skill_db", SCHEMA)?, access })
    }

    /// The name of the store's lock.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.database.resource()
    }

    /// Counts a use of a skill.
    ///
    /// # Errors
    /// [`Error::Lock`] (nothing was done), [`Error::Sqlite`].
    pub async fn record_use(&self, skill: &str, success: bool) -> Result<(), Error> {
        let held = self.access.write(self.resource()).await?;
        let mut record = self.record(skill)?;
        self.access.think().await;
        record.uses += 1;
        record.successes += i64::from(success);
        self.set_record(&record)?;
        held.release()?;
        Ok(())
    }

    /// The skills that help most often, of those used at all.
    ///
    /// # Errors
    /// [`Error::Lock`], [`Error::Sqlite`].
    pub async fn best(&self, limit: usize) -> Result<Vec<SkillRecord>, Error> {
        let _held = self.access.read(self.resource()).await?;
        let connection = self.database.connection();
        let mut query = connection.prepare_cached(
            "SELECT skill, uses, successes FROM skills WHERE uses > 0
             ORDER BY CAST(successes AS REAL) / uses DESC, uses DESC LIMIT ?1",
        )?;
        let records = query.query_map([limit as i64], record_of)?.collect::<Result<_, _>>()?;
        Ok(records)
    }

    fn record(&self, skill: &str) -> Result<SkillRecord, Error> {
        let connection = self.database.connection();
        let record = connection
            .query_row("SELECT skill, uses, successes FROM skills WHERE skill = ?1", [skill], record_of)
            .optional()?;
        Ok(record.unwrap_or_else(|| SkillRecord { skill: skill.to_owned(), ..SkillRecord::default() }))
    }

    fn set_record(&self, record: &SkillRecord) -> Result<(), Error> {
        self.database.connection().execute(
            "INSERT INTO skills (skill, uses, successes) VALUES (?1, ?2, ?3)
             ON CONFLICT (skill) DO UPDATE SET uses = excluded.uses, successes = excluded.successes",
            params![record.skill, record.uses, record.successes],
        )?;
        Ok(())
    }
}

fn record_of(row: &Row<'_>) -> rusqlite::Result<SkillRecord> {
    Ok(SkillRecord { skill: row.get(0)?, uses: row.get(1)?, successes: row.get(2)? })
}
