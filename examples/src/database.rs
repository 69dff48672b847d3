//! One SQLite file and the name of its lock.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use crate::error::Error;

/// How long SQLite waits for another connection's statement. Long enough that a busy file is never
/// an error, so that what goes wrong without our locks is what SQLite cannot see: a value that
/// changed between two statements.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Database {
    resource: String,
    /// Locked for single statements only, never while something is awaited.
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens or creates the file; `schema` must be repeatable. The lock is `<prefix>:<file name>`.
    pub(crate) fn open(path: &Path, prefix: &str, schema: &str) -> Result<Database, Error> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // A write-ahead log survives the death of a writer in the middle of a statement.
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.execute_batch(schema)?;
        let file_name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(Database { resource: format!("{prefix}:{file_name}"), connection: Mutex::new(connection) })
    }

    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
