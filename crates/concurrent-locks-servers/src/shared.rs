//! The servers shared by all tests of a process, or of a whole run.

use std::{
    env,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use crate::{
    bouncer::PgBouncer,
    error::Error,
    postgres::{Postgres, PostgresOptions, psql},
    redis::Redis,
};

/// The environment variable with the URL of the Redis server to use for tests.
pub const REDIS_VARIABLE: &str = "LOCKS_TEST_REDIS";
/// The environment variable with the URL of the PostgreSQL server, and a database of it, to use for tests.
pub const POSTGRES_VARIABLE: &str = "LOCKS_TEST_POSTGRES";

/// A server that others use too: each in a space of its own, and nobody stops it.
#[derive(Clone, Debug)]
pub struct Shared {
    url: String,
}

impl Shared {
    /// The server's URL, without a space.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a space that nobody else uses.
    #[must_use]
    pub fn fresh_space(&self) -> String {
        let space = format!("?space=case-{:016x}", fastrand::u64(..));
        // Where the canonical URL has it.
        match self.url.split_once('?') {
            Some((server, query)) => format!("{server}{space}&{query}"),
            None => format!("{}{space}", self.url),
        }
    }
}

impl Redis {
    /// The server of [`REDIS_VARIABLE`], else one that is started once and lives as long as this process.
    ///
    /// # Errors
    /// If it must be started and cannot.
    pub fn shared() -> Result<Shared, Error> {
        static OWN: Mutex<Option<Redis>> = Mutex::new(None);
        shared(REDIS_VARIABLE, &OWN, Redis::start, Redis::url)
    }
}

impl Postgres {
    /// The server of [`POSTGRES_VARIABLE`], else one that is started once and lives as long as this process.
    /// It waits for the disk, as a server should: without, it is no healthy one.
    ///
    /// # Errors
    /// If it must be started and cannot.
    pub fn shared() -> Result<Shared, Error> {
        static OWN: Mutex<Option<Postgres>> = Mutex::new(None);
        shared(
            POSTGRES_VARIABLE,
            &OWN,
            || PostgresOptions::default().durable().start(),
            |server| server.url("postgres"),
        )
    }

    /// Makes a database that nobody else uses on a shared server, and answers its URL.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn fresh_database(shared: &Shared) -> Result<String, Error> {
        let name = format!("test_{:016x}", fastrand::u64(..));
        psql(&[], "", shared.url(), &format!("create database {name}"))?;
        let (server, rest) =
            shared.url().rsplit_once('/').ok_or_else(|| Error::Refused("a URL without database".into()))?;
        let query = rest.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
        Ok(format!("{server}/{name}{query}"))
    }
}

impl PgBouncer {
    /// One before the shared PostgreSQL server, started once and living as long as this process. The URL names that
    /// server too, for what cannot go through a pool (`listen=`).
    ///
    /// # Errors
    /// If one of them must be started and cannot, or [`POSTGRES_VARIABLE`] names a server that is not of this crate.
    pub fn shared() -> Result<Shared, Error> {
        static OWN: Mutex<Option<PgBouncer>> = Mutex::new(None);
        let server = Postgres::shared()?;
        let place = server.url().strip_prefix("postgres://postgres@").and_then(|rest| rest.split_once('/'));
        let address = place.and_then(|(address, database)| Some((address.parse::<SocketAddr>().ok()?, database)));
        let (address, database) = address.ok_or_else(|| {
            Error::Refused(format!("{POSTGRES_VARIABLE} is not postgres://postgres@ADDRESS:PORT/DATABASE"))
        })?;
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_none() {
            *own = Some(PgBouncer::before(address, None)?);
        }
        let url = own.as_ref().map(|bouncer| format!("{}?listen={address}", bouncer.url(database)));
        Ok(Shared { url: url.expect("just started") })
    }
}

fn shared<S>(
    variable: &str,
    own: &Mutex<Option<S>>,
    start: fn() -> Result<S, Error>,
    url: impl Fn(&S) -> String,
) -> Result<Shared, Error> {
    if let Ok(url) = env::var(variable) {
        return Ok(Shared { url });
    }
    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
    if own.is_none() {
        *own = Some(start()?);
    }
    let url = own.as_ref().map(url).expect("just started");
    Ok(Shared { url })
}
