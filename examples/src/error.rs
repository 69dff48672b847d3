//! What can go wrong in a store.

use std::path::PathBuf;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lock was not acquired, or was lost. Its text names the holder and the queue.
    #[error(transparent)]
    Lock(#[from] concurrent_locks::Error),
    /// SQLite refused.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not the JSON it should be: torn, or never was.
    #[error("{}: line {}, column {}: {source}", path.display(), source.line(), source.column())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A line of an episodes file is not an episode. Line and column count from 1.
    #[error("line {line}, column {column}: {reason}")]
    Episode {
        /// The line in the file.
        line: usize,
        /// The column in the line.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
}
