//! What a lock costs, counted at the server.

use concurrent_locks::{LockManager, Mode};
use concurrent_locks_conformance::{Polled, until};
use concurrent_locks_servers::{Postgres, Redis, Reply};

use crate::stage::bench;

/// So long that no renewal comes in between.
const LEASE: &str = "1h";
const ROUNDS: u64 = 100;

/// A server that counts the commands it gets.
trait Counting {
    /// How many it has got of locks so far.
    fn commands(&self) -> u64;
}

impl Counting for Redis {
    fn commands(&self) -> u64 {
        let told = self.command(&["INFO", "commandstats"]).unwrap();
        let Reply::Text(text) = told else { panic!("{told:?}") };
        let calls = |command: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
            line.map_or(0, |line| line.split(',').next().unwrap().parse::<u64>().unwrap())
        };
        // What could be said besides; other commands are those of scripts.
        ["evalsha", "eval", "ping", "subscribe", "hello", "multi", "wait"].map(calls).iter().sum()
    }
}

impl Counting for Postgres {
    fn commands(&self) -> u64 {
        let sql = "select coalesce(sum(calls), 0) from pg_stat_statements where query not like '%pg_stat_statements%'";
        self.sql("postgres", sql).unwrap().parse().unwrap()
    }
}

fn redis() -> (Redis, String) {
    let server = Redis::start().unwrap();
    let url = server.url();
    (server, url)
}

fn postgres() -> (Postgres, String) {
    let settings = Postgres::options().setting("shared_preload_libraries", "pg_stat_statements");
    let server = settings.start().unwrap();
    server.sql("postgres", "create extension pg_stat_statements").unwrap();
    let url = server.url("postgres");
    (server, url)
}

/// The first renewal comes soon after the first lock; the next one after a third of the lease.
fn until_renewed(locks: &LockManager, server: &impl Counting) {
    let first = server.commands();
    let guard = locks.write("warm").blocking().unwrap();
    until("the acquire and a renewal", || server.commands() >= first + 2);
    guard.release().unwrap();
}

fn an_uncontended_lock_is_two_commands((server, url): (impl Counting, String)) {
    let bench = bench(&url, LEASE);
    let locks = bench.locks();
    until_renewed(locks, &server);
    let before = server.commands();
    for _ in 0..ROUNDS {
        locks.write("a").blocking().unwrap().release().unwrap();
    }
    assert_eq!(server.commands() - before, 2 * ROUNDS, "blocking");
    let before = server.commands();
    for _ in 0..ROUNDS {
        drop(Polled::new(locks.read("a")).granted());
    }
    until("the releases are heard", || server.commands() >= before + 2 * ROUNDS);
    assert_eq!(server.commands() - before, 2 * ROUNDS, "futures");
}

/// A waiter makes contact once a second, so some hand-offs see more; none sees less than it costs.
fn a_hand_off_costs_the_release_and_nothing_else((server, url): (impl Counting, String)) {
    let bench = bench(&url, LEASE);
    let locks = bench.locks();
    let costs = (0..ROUNDS).map(|_| {
        let guard = locks.write("a").blocking().unwrap();
        let mut next = Polled::queued(locks.write("a"));
        bench.until_waiting("a", 1);
        let before = server.commands();
        guard.release().unwrap();
        let next = next.granted();
        let cost = server.commands() - before;
        next.release().unwrap();
        cost
    });
    assert_eq!(costs.min(), Some(1));
}

/// Nothing is paid for what is held already: the order in which locks are taken is sent in batches.
fn many_locks_of_one_owner_are_two_commands_each((server, url): (impl Counting, String)) {
    let bench = bench(&url, LEASE);
    until_renewed(bench.locks(), &server);
    let owner = bench.owner("many");
    let names: Vec<String> = (0..ROUNDS).map(|number| format!("name {number}")).collect();
    let wanted = || names.iter().map(|name| (name.as_str(), Mode::Write));
    let before = server.commands();
    owner.lock_all(wanted()).blocking().unwrap().release().unwrap();
    let first = server.commands() - before;
    assert!((2 * ROUNDS..2 * ROUNDS + ROUNDS / 10).contains(&first), "{first} with their order");
    let before = server.commands();
    owner.lock_all(wanted()).blocking().unwrap().release().unwrap();
    assert_eq!(server.commands() - before, 2 * ROUNDS, "the order is known");
}

#[test]
fn on_redis_many_locks_of_one_owner_are_two_commands_each() {
    many_locks_of_one_owner_are_two_commands_each(redis());
}

#[test]
fn on_postgres_many_locks_of_one_owner_are_two_commands_each() {
    many_locks_of_one_owner_are_two_commands_each(postgres());
}

#[test]
fn on_redis_an_uncontended_lock_is_two_commands() {
    an_uncontended_lock_is_two_commands(redis());
}

#[test]
fn on_postgres_an_uncontended_lock_is_two_commands() {
    an_uncontended_lock_is_two_commands(postgres());
}

#[test]
fn on_redis_a_hand_off_costs_the_release_and_nothing_else() {
    a_hand_off_costs_the_release_and_nothing_else(redis());
}

#[test]
fn on_postgres_a_hand_off_costs_the_release_and_nothing_else() {
    a_hand_off_costs_the_release_and_nothing_else(postgres());
}
