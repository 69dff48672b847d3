//! The servers everybody is measured on: real ones, on loopback, bound to one CPU.

use anyhow::{Context, Result};
use concurrent_locks_servers::{Postgres, Redis, Reply};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

use super::kind::{Kind, Server};
use crate::machine::cpus;

/// Functions that each write one row, with as many parameters as our acquire and release have.
const RAW: &str = "
    CREATE TABLE raw (id text PRIMARY KEY, session text, name text) WITH (fillfactor = 50);
    CREATE FUNCTION raw_acquire(text, text, text, text, text, text, text, text, text, integer, boolean, bigint)
        RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO raw VALUES ($3, $2, $4);
            RETURN '{\"granted\":{\"token\":1732423701123456,\"since\":1732423701123456,\"waited\":0,\"owner\":\"o\"}}';
        END $$;
    CREATE FUNCTION raw_release(text, text, text, text, text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM raw WHERE id = $3;
            RETURN '{\"released\":{}}';
        END $$;
    CREATE TABLE raw_told (told bigint) WITH (fillfactor = 50);
    INSERT INTO raw_told VALUES (0);
    CREATE FUNCTION raw_notify(text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE raw_told SET told = told + 1;
            PERFORM pg_notify($1, 'go');
        END $$;";

/// The database in which a commit waits for the disk, as PostgreSQL does unless told otherwise.
pub(super) const DURABLE: &str = "durable";
/// The database in which it does not (`synchronous_commit = off`).
pub(super) const RELAXED: &str = "relaxed";

pub(super) struct Servers {
    redis: Redis,
    postgres: Postgres,
}

impl Servers {
    pub(super) fn start() -> Result<Servers> {
        let redis = Redis::start().context("Redis")?;
        let postgres = Postgres::options().durable().start().context("PostgreSQL")?;
        for database in [DURABLE, RELAXED] {
            postgres.sql("postgres", &format!("CREATE DATABASE {database}"))?;
            postgres.sql(database, RAW)?;
        }
        postgres.sql("postgres", &format!("ALTER DATABASE {RELAXED} SET synchronous_commit = off"))?;
        let mut first = CpuSet::new();
        first.set(cpus()?[0]);
        for pid in [redis.pid(), postgres.pid()] {
            sched_setaffinity(Pid::from_raw(pid.cast_signed()), &first)?;
        }
        Ok(Servers { redis, postgres })
    }

    /// The URL for a contender; `database` is for PostgreSQL.
    pub(super) fn url(&self, kind: Kind, database: &str) -> String {
        match kind.server() {
            Server::Redis => self.redis.url(),
            Server::Postgres => self.postgres.url(database),
        }
    }

    pub(super) fn versions(&self) -> Result<String> {
        let redis = self.info("server", "redis_version")?;
        let postgres = self.postgres.sql("postgres", "SHOW server_version")?;
        Ok(format!("Redis {redis} (keeps nothing), PostgreSQL {postgres} (fsync on)"))
    }

    /// What Redis has read so far: a read is a message of a client that waits for the answer before the next.
    pub(super) fn redis_reads(&self) -> Result<f64> {
        Ok(self.info("stats", "total_reads_processed")?.parse()?)
    }

    /// Commands that Redis has run so far, those within scripts too.
    pub(super) fn redis_commands(&self) -> Result<f64> {
        Ok(self.info("stats", "total_commands_processed")?.parse()?)
    }

    /// Transactions of a database so far. A server process tells them at its end, or now and then.
    pub(super) fn transactions(&self, database: &str) -> Result<f64> {
        let sql = format!("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{database}'");
        Ok(self.postgres.sql("postgres", &sql)?.parse()?)
    }

    /// How many are connected to a database.
    pub(super) fn connections(&self, database: &str) -> Result<u32> {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
        Ok(self.postgres.sql("postgres", &sql)?.parse()?)
    }

    fn info(&self, section: &str, field: &str) -> Result<String> {
        let Reply::Text(info) = self.redis.command(&["INFO", section])? else { anyhow::bail!("INFO gave no text") };
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("no {field} in INFO {section}"))?.trim().to_owned())
    }
}
