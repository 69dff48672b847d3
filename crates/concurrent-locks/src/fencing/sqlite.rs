//! SQLite: a table of tokens in the protected database.
//!
//! Run [`SCHEMA`] once (it may be repeated), and [`CHECK`] in each transaction that writes, before its
//! first write. It fails if a greater token has written; then roll back. It takes SQLite's write lock,
//! so no other writer comes between the check and the commit.
//!
//! Outside a transaction the check is worth nothing: it ends before the write begins. SQLite's integers
//! have 63 bits: a greater token is for the caller's conversion to refuse.
//!
//! `docs/fencing.md` has a recipe.

/// Statements that make the table `fence` and its trigger, where they are missing.
pub const SCHEMA: &str = include_str!("sqlite.sql");

/// A statement with two parameters, `?1` the resource and `?2` the token. Fails with
/// `SQLITE_CONSTRAINT_TRIGGER` and [`REFUSAL`] if a greater token has written.
pub const CHECK: &str = "INSERT INTO fence (resource, token) VALUES (?1, ?2) \
                         ON CONFLICT (resource) DO UPDATE SET token = excluded.token";

/// How the message of a refusal begins.
pub const REFUSAL: &str = "fenced:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_refuses_with_the_word_that_is_promised() {
        assert!(SCHEMA.contains(&format!("'{REFUSAL} ")));
    }
}
