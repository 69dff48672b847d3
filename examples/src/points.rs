//! Attention points: what agents move between memories, so that their sum tells whether a move was torn.

use rusqlite::{OptionalExtension, params};

use concurrent_locks::Mode;

use crate::{
    access::{Access, Held},
    database::Database,
    error::Error,
};

/// The points of one topic in one memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// How much attention the topic has here.
    pub points: i64,
    /// How often points were moved in or out.
    pub moves: i64,
}

impl Balance {
    /// This balance after one more move.
    #[must_use]
    pub fn moved(self, points: i64) -> Balance {
        Balance { points: self.points + points, moves: self.moves + 1 }
    }

    pub(crate) fn read(database: &Database, query: &str, topic: &str) -> Result<Balance, Error> {
        let connection = database.connection();
        let balance = connection
            .query_row(query, [topic], |row| Ok(Balance { points: row.get(0)?, moves: row.get(1)? }))
            .optional()?;
        Ok(balance.unwrap_or_default())
    }

    pub(crate) fn write(self, database: &Database, statement: &str, topic: &str) -> Result<(), Error> {
        database.connection().execute(statement, params![topic, self.points, self.moves])?;
        Ok(())
    }
}

/// A memory whose topics have points. The steps ask for the section they are part of.
pub trait Points {
    /// The name of the memory's lock.
    fn resource(&self) -> &str;

    /// The points of a topic; zero if it is unknown.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    ///
    /// # Panics
    /// If `held` does not hold the memory's lock.
    fn balance(&self, held: &Held, topic: &str) -> Result<Balance, Error>;

    /// Writes the points of a topic back.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    ///
    /// # Panics
    /// If `held` does not hold the memory's lock to write.
    fn set_balance(&self, held: &Held, topic: &str, balance: Balance) -> Result<(), Error>;
}

/// Moves points of a topic from one memory to the other, holding the locks of both. Two files have
/// no common transaction: whoever dies in between leaves a half-done move, and whoever reads in
/// between without the locks sees one.
///
/// # Errors
/// [`Error::Lock`] (nothing was done), [`Error::Sqlite`].
pub async fn transfer(
    access: &Access,
    from: &impl Points,
    to: &impl Points,
    topic: &str,
    points: i64,
) -> Result<(), Error> {
    let held = access.hold(&[from.resource(), to.resource()], Mode::Write).await?;
    let balance = from.balance(&held, topic)?;
    access.think().await;
    from.set_balance(&held, topic, balance.moved(-points))?;
    let balance = to.balance(&held, topic)?;
    access.think().await;
    to.set_balance(&held, topic, balance.moved(points))?;
    held.release()?;
    Ok(())
}
