//! A server of the test's own, a proxy before it, and the locks on both ways.

use std::{net::SocketAddr, path::PathBuf, sync::mpsc, time::SystemTime};

use concurrent_locks::{ErrorKind, Guard, LockManager};
use concurrent_locks_conformance::{Bench, Space, until};
use concurrent_locks_servers::{Postgres, Proxy, Redis};

/// What tests do to a server of either kind.
pub(crate) trait Server: Sized {
    /// The longest lease with which a test can wait for the death of a holder to be noticed.
    const MOURNING: &'static str;
    /// A lease that bears any outage of a test, however slow the machine: no connection's end cuts it short.
    const LASTING: &'static str;
    /// Whether the server itself knows that a process is dead.
    const KNOWS_THE_DEAD: bool;

    /// One that keeps over a kill what it has answered.
    fn fresh() -> Self;
    /// Without a query.
    fn url(&self) -> String;
    fn address(&self) -> SocketAddr;
    /// Stops all its processes where they are.
    fn stop(&mut self);
    fn go_on(&mut self);
    /// Everything it has answered is on its disk after this, places in queues included.
    fn settle(&self);
    /// Kills it, and starts it again with its data.
    fn restart(&mut self);
    /// Has it start with nothing, as one whose disk was lost. Nobody may be connected.
    fn forget(&mut self);
    /// How much it keeps of requests that hold or wait; 0 if nobody does.
    fn requests(&self) -> u64;
}

/// The space of tests that have the server for themselves.
pub(crate) const SPACE: &str = "test";

impl Server for Redis {
    const MOURNING: &'static str = "2s";
    const LASTING: &'static str = "10m";
    const KNOWS_THE_DEAD: bool = false;

    fn fresh() -> Redis {
        Redis::options().append_only().start().expect("a Redis server")
    }

    fn url(&self) -> String {
        self.url()
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn stop(&mut self) {
        self.stop_process();
    }

    fn go_on(&mut self) {
        self.resume_process();
    }

    fn settle(&self) {}

    fn restart(&mut self) {
        self.restart().expect("a restart");
    }

    fn forget(&mut self) {
        self.command(&["FLUSHALL"]).expect("a server that runs");
        self.restart().expect("a restart");
    }

    fn requests(&self) -> u64 {
        let count = |command: &str, key: &str| match self.command(&[command, &format!("locks:{{{SPACE}}}:{key}")]) {
            Ok(concurrent_locks_servers::Reply::Number(count)) => u64::try_from(count).expect("a count"),
            other => panic!("{other:?}"),
        };
        count("HLEN", "requests") + count("ZCARD", "holders") + count("ZCARD", "queue")
    }
}

impl Server for Postgres {
    const MOURNING: &'static str = "10m";
    const LASTING: &'static str = "10m&life=lease";
    const KNOWS_THE_DEAD: bool = true;

    fn fresh() -> Postgres {
        Postgres::start().expect("a PostgreSQL server")
    }

    fn url(&self) -> String {
        self.url("postgres")
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn stop(&mut self) {
        self.stop_process();
    }

    fn go_on(&mut self) {
        self.resume_process();
    }

    fn settle(&self) {
        self.sql("postgres", "checkpoint").expect("a server that runs");
    }

    fn restart(&mut self) {
        self.restart().expect("a restart");
    }

    fn forget(&mut self) {
        self.restart().expect("a restart");
        self.sql("postgres", "drop schema concurrent_locks cascade").expect("a server that runs");
    }

    fn requests(&self) -> u64 {
        let told = self.sql("postgres", "select count(*) from concurrent_locks.request").expect("a server that runs");
        told.parse().expect("a count")
    }
}

/// See the module.
pub(crate) struct Stage<S> {
    pub(crate) server: S,
    pub(crate) proxy: Proxy,
}

impl<S: Server> Stage<S> {
    pub(crate) fn new() -> Stage<S> {
        let server = S::fresh();
        let proxy = Proxy::to(server.address());
        Stage { server, proxy }
    }

    /// Locks that reach the server directly, and other processes that do.
    pub(crate) fn near(&self, lease: &str) -> Bench {
        bench(&self.server.url(), lease)
    }

    /// Locks that reach the server through the proxy: a session of its own.
    pub(crate) fn far(&self, lease: &str) -> Bench {
        bench(&self.proxy.url(&self.server.url()), lease)
    }

    /// Waits until the server keeps nothing of any request.
    #[track_caller]
    pub(crate) fn until_nothing_is_left(&self) {
        until("nothing is left of any request", || self.server.requests() == 0);
    }
}

/// Locks at a server of which the URL has no query.
#[track_caller]
pub(crate) fn bench(url: &str, lease: &str) -> Bench {
    let url = format!("{url}?space={SPACE}&lease={lease}");
    Bench::new(Space { url, directory: None }, PathBuf::from(env!("CARGO_BIN_EXE_lock-taker")))
}

/// The error of a connection that is refused.
#[track_caller]
pub(crate) fn refusal(url: &str) -> concurrent_locks::Error {
    match LockManager::connect(url).blocking() {
        Ok(_) => panic!("{url} lets us in"),
        Err(error) => error,
    }
}

/// Records the loss of a guard's lock: the kind of the error, and when.
pub(crate) fn told(guard: &Guard) -> mpsc::Receiver<(ErrorKind, SystemTime)> {
    let (sender, told) = mpsc::channel();
    guard.on_lost(move |error| {
        // A test that failed is not there to receive it.
        let _ = sender.send((error.kind(), SystemTime::now()));
    });
    told
}
