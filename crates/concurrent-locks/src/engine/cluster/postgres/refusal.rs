//! The server's error messages for refused calls.

use std::fmt;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;

use crate::words::error::{Error, ErrorKind};

/// An error of the server: its five-letter code (SQLSTATE) and its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    severity: String,
    pub(super) code: String,
    message: String,
    hint: String,
}

impl Refusal {
    pub(super) fn of(body: &ErrorResponseBody) -> Refusal {
        let mut refusal = Refusal::default();
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                // In English, whatever the language of the server; older ones say it in `S` only.
                b'V' => refusal.severity = text(),
                b'S' if refusal.severity.is_empty() => refusal.severity = text(),
                b'C' => refusal.code = text(),
                b'M' => refusal.message = text(),
                b'H' => refusal.hint = text(),
                _ => {}
            }
        }
        refusal
    }

    /// Whether it says that this connection is of no more use, not that a call was wrong: the server goes or has
    /// become a replica; or a pool, or somebody who reset the connection, took our statements or the schema away, and
    /// the next handshake puts them there again.
    pub(super) fn ends_connection(&self) -> bool {
        self.is_fatal()
            || matches!(&*self.code, "25006" | "26000" | "3F000" | "42883" | "42P01" | "57P01" | "57P02" | "57P03")
    }

    /// Whether the server ends the connection itself.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(&*self.severity, "FATAL" | "PANIC")
    }

    /// What it means in a handshake.
    pub(super) fn into_error(self) -> Error {
        let class = self.code.get(..2).unwrap_or_default();
        let kind = match &*self.code {
            "42501" | "28P01" | "28000" => ErrorKind::Permission,
            "3D000" => ErrorKind::InvalidInput,
            _ if class == "28" => ErrorKind::Permission,
            _ => ErrorKind::Unreachable,
        };
        let text = match kind {
            ErrorKind::Permission if self.code == "28P01" => format!(
                "the server refused the user or the password; check both in the URL, postgres://USER:PASSWORD@HOST \
                 (write a letter like @ or / as %40 or %2F), or in PGUSER and PGPASSWORD: {self}"
            ),
            ErrorKind::Permission => format!("the server refuses the login: {self}"),
            ErrorKind::InvalidInput => format!("the server has no such database: {self}"),
            _ => format!("the server cannot serve requests now: {self}"),
        };
        Error::new(kind, text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}
