//! Why a server could not be started.

use std::{fmt, io};

use crate::program::Missing;

/// Why a server could not be had, or what it said against a command.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// It is not installed.
    Missing(Missing),
    /// It was started and did not become ready.
    Start {
        /// The program.
        program: &'static str,
        /// What happened.
        why: String,
        /// What it wrote.
        log: String,
    },
    /// It refused a command.
    Refused(String),
    /// The system refused something.
    Io {
        /// What was tried.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(missing) => missing.fmt(f),
            Error::Start { program, why, log } => write!(f, "{program} did not start: {why}. It wrote:\n{log}"),
            Error::Refused(said) => write!(f, "the server refused: {said}"),
            Error::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Says what was tried when the system refuses.
pub(crate) trait Trying<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}
