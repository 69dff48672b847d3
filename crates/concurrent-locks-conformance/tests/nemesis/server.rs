//! The servers: one of each test's own, since things are done to it.

use std::net::SocketAddr;

use concurrent_locks_servers::{Postgres, Proxy, Redis, Reply};

const SPACE: &str = "nemesis";

pub(crate) enum Server {
    Redis(Redis),
    Postgres(Postgres),
}

impl Server {
    pub(crate) fn redis() -> Server {
        Server::Redis(Redis::options().append_only().start().unwrap())
    }

    pub(crate) fn postgres() -> Server {
        Server::Postgres(Postgres::options().durable().start().unwrap())
    }

    /// One that follows it: a replica of what it has answered sooner or later, or a standby of all of that.
    pub(crate) fn follower(&self) -> Server {
        match self {
            Server::Redis(redis) => Server::Redis(Redis::options().append_only().replica_of(redis).start().unwrap()),
            Server::Postgres(postgres) => {
                let standby = Postgres::options().durable().standby_of(postgres).start().unwrap();
                postgres.wait_for_standbys().unwrap();
                Server::Postgres(standby)
            }
        }
    }

    /// Dies, and its follower takes its place.
    pub(crate) fn fails_over_to(&mut self, follower: &mut Server) {
        match (self, follower) {
            (Server::Redis(redis), Server::Redis(replica)) => {
                redis.kill();
                replica.promote();
            }
            (Server::Postgres(postgres), Server::Postgres(standby)) => {
                postgres.kill();
                standby.promote().unwrap();
            }
            _ => panic!("two kinds of servers"),
        }
    }

    fn plain_url(&self) -> String {
        match self {
            Server::Redis(redis) => redis.url(),
            Server::Postgres(postgres) => postgres.url("postgres"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Server::Redis(redis) => redis.address(),
            Server::Postgres(postgres) => postgres.address(),
        }
    }

    /// The URL of the locks, with a lease of so many seconds.
    pub(crate) fn url(&self, lease: u64) -> String {
        format!("{}?space={SPACE}&lease={lease}s", self.plain_url())
    }

    /// The same, or those of `other` if it is the one that takes writes.
    pub(crate) fn url_or(&self, other: &Server, lease: u64) -> String {
        let hosts = format!("{},{}", self.address(), other.address());
        self.url(lease).replace(&self.address().to_string(), &hosts)
    }

    /// The same, by way of a proxy.
    pub(crate) fn url_by(&self, proxy: &Proxy, lease: u64) -> String {
        format!("{}?space={SPACE}&lease={lease}s", proxy.url(&self.plain_url()))
    }

    /// Kills it and starts it again with its data.
    pub(crate) fn restart(&mut self) {
        match self {
            Server::Redis(redis) => {
                redis.kill();
                redis.restart().unwrap();
            }
            Server::Postgres(postgres) => {
                postgres.kill();
                postgres.restart().unwrap();
            }
        }
    }

    /// Redis only: it forgets all scripts.
    pub(crate) fn flush_scripts(&self) {
        let Server::Redis(redis) = self else { panic!("PostgreSQL has no scripts") };
        redis.command(&["SCRIPT", "FLUSH"]).unwrap();
    }

    /// Fails if it keeps anything of a request.
    pub(crate) fn assert_empty(&self) {
        match self {
            Server::Redis(redis) => {
                for key in ["requests", "holders", "queue"] {
                    let key = format!("locks:{{{SPACE}}}:{key}");
                    let left = redis.command(&["EXISTS", &key]).unwrap();
                    assert_eq!(left, Reply::Number(0), "{key}");
                }
            }
            Server::Postgres(postgres) => {
                let left = postgres.sql("postgres", "SELECT * FROM concurrent_locks.request").unwrap();
                assert_eq!(left.trim(), "");
            }
        }
    }
}
