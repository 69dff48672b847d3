//! One rule, four implementations: the table (`local:`, `host:`), the Lua of Redis and the SQL of
//! PostgreSQL each replay the same random histories as the [`specification`], through the seam that the
//! API uses, and after every step all of them must show the same.
//!
//! - D1. A [`history`] is a list of steps that mean something in every state, so a failing one shrinks.
//! - D2. The [`specification`] recomputes everything from the rule's words; it shares no code with the engines.
//! - D3. After a step, the resource that it touched has the same holders, in the same modes and by the same
//!   owners, the same waiters in the same order, and tokens that rule 7 allows ([`tokens`]). So whoever may be
//!   granted is granted, at once.
//! - D4. Time is virtual, so that no outcome depends on speed ([`replay::Pace`]).
//!
//! `LOCKS_HISTORIES` says how many; `cargo xtask differential` runs a million.

mod history;
mod replay;
mod specification;
mod tokens;

use std::env;
#[cfg(feature = "cluster")]
use std::thread;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use self::{history::Step, replay::Pace, specification::Specification};
use crate::{LockManager, engine::Engine};

/// How many threads replay histories on a server, so that it always has something to do.
#[cfg(feature = "cluster")]
const THREADS: u32 = 8;

fn histories() -> u32 {
    let number = |text: String| text.parse().expect("LOCKS_HISTORIES is a number");
    env::var("LOCKS_HISTORIES").map_or(1000, number)
}

/// Feeds random histories to `check`; panics with the smallest one that fails.
fn all(cases: u32, check: impl Fn(&[Step]) -> Result<(), String>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&history::strategy(), |steps| check(&steps).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => panic!("{reason}\nafter these steps: {steps:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn engine(url: &str) -> &'static dyn Engine {
    LockManager::connect(url).blocking().unwrap_or_else(|error| panic!("{url}: {error}")).engine()
}

/// Each space has a connection of its own, which threads share.
#[cfg(feature = "cluster")]
fn on_server(spaces: &[String]) {
    let engines: Vec<_> = spaces.iter().map(|url| engine(url)).collect();
    thread::scope(|scope| {
        for engine in engines.into_iter().cycle().take(THREADS as usize) {
            scope.spawn(move || all(histories().div_ceil(THREADS), |steps| replay::patiently(engine, steps)));
        }
    });
}

#[test]
fn the_local_table_keeps_the_rule() {
    let engine = engine("local:differential");
    all(histories(), |steps| replay::replay(engine, Pace::Fed, steps));
}

#[test]
#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
fn the_shared_table_keeps_the_rule() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&format!("host:{}", directory.path().join("table").display()));
    all(histories(), |steps| replay::replay(engine, Pace::Fed, steps));
}

#[test]
#[cfg(feature = "redis")]
fn the_scripts_of_redis_keep_the_rule() {
    let server = concurrent_locks_servers::Redis::shared().unwrap_or_else(|error| panic!("{error}"));
    on_server(&[server.fresh_space()]);
}

#[test]
#[cfg(feature = "postgres")]
fn the_functions_of_postgresql_keep_the_rule() {
    let server = concurrent_locks_servers::Postgres::shared().unwrap_or_else(|error| panic!("{error}"));
    // With the functions of this build, not with those that others have made there.
    let database =
        concurrent_locks_servers::Postgres::fresh_database(&server).unwrap_or_else(|error| panic!("{error}"));
    // A commit waits for the disk, and one flush serves all that wait for it.
    let query = if database.contains('?') { '&' } else { '?' };
    let spaces: Vec<String> = (0..THREADS).map(|space| format!("{database}{query}space={space}")).collect();
    on_server(&spaces);
}

/// What the words promise, of the words: nobody enters beside whom they exclude, nobody is overtaken by what
/// conflicts and comes later, and every queue drains.
#[test]
fn the_words_of_the_rule_promise_what_they_should() {
    all(histories(), |steps| {
        let mut cast = history::Cast::new();
        let mut resources = [Specification::default(), Specification::default()];
        for step in steps {
            let before = resources.clone();
            let Some(name) = cast.apply(&mut resources, step).map(|deed| deed.name()) else { continue };
            resources[name].excludes()?;
            resources[name].overtakes_nobody_since(&before[name])?;
        }
        resources.iter_mut().try_for_each(Specification::drains)
    });
}
