//! What the server counts while one process acquires and releases a free lock.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    errand::Worker,
    kind::{Kind, Server},
    present,
    servers::{DURABLE, Servers},
};
use crate::{
    measure::{Contender, Plan, rounds},
    report::{Aim, Table},
};

const REDIS: [Kind; 7] = [
    Kind::Scripts,
    Kind::OursRedis,
    Kind::OursRedisAwaited,
    Kind::Rslock,
    Kind::RedisPy,
    Kind::PythonRedisLock,
    Kind::NodeRedlock,
];
const POSTGRES: [Kind; 4] = [Kind::Statements, Kind::OursPostgres, Kind::OursPostgresAwaited, Kind::Advisory];

/// Pairs of the short and of the long worker: the difference excludes connecting and detaching.
const PAIRS: [u32; 2] = [200, 1200];

pub(crate) fn trips(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let servers = Servers::start()?;
    let redis = table(
        &servers,
        plan,
        "Round trips per lock + unlock, counted by Redis",
        "Reads of its clients' sockets; and commands, those that scripts give too.",
        &["round trips", "commands"],
        &REDIS,
    )?;
    let postgres = table(
        &servers,
        plan,
        "Round trips per lock + unlock, counted by PostgreSQL",
        "Transactions: each call is one.",
        &["round trips"],
        &POSTGRES,
    )?;
    let trips = |what, table: &Table, kind: Kind| Aim::at_most(what, 2.0, "", table.median(kind.name(), 0));
    let aims = vec![
        trips("redis: round trips per pair", &redis, Kind::OursRedis),
        trips("redis, awaited: round trips per pair", &redis, Kind::OursRedisAwaited),
        trips("postgres: round trips per pair", &postgres, Kind::OursPostgres),
        trips("postgres, awaited: round trips per pair", &postgres, Kind::OursPostgresAwaited),
    ];
    Ok((vec![redis, postgres], aims))
}

fn table(servers: &Servers, plan: Plan, title: &str, note: &str, columns: &[&str], kinds: &[Kind]) -> Result<Table> {
    let (here, missing) = present(kinds);
    let contenders = here.into_iter().map(|kind| {
        Contender::new(kind.name(), move || {
            let [few, many] = [counted(servers, kind, PAIRS[0])?, counted(servers, kind, PAIRS[1])?];
            let pairs = f64::from(PAIRS[1] - PAIRS[0]);
            Ok(few.iter().zip(&many).map(|(few, many)| (many - few) / pairs).collect())
        })
    });
    let measured = rounds(plan.at_most(3), contenders.collect())?;
    Ok(Table::new(title, &format!("{note}{missing}"), columns, "", measured))
}

/// What the server counts during the life of a worker.
fn counted(servers: &Servers, kind: Kind, pairs: u32) -> Result<Vec<f64>> {
    let before = counts(servers, kind.server())?;
    let mut worker = Worker::start(kind, &servers.url(kind, DURABLE), &format!("trips/{kind:?}"), None)?;
    worker.pairs(pairs)?;
    worker.end()?;
    let start = Instant::now();
    // PostgreSQL tells the last ones of a connection when its process has ended.
    while servers.connections(DURABLE)? > 0 {
        ensure!(start.elapsed() < Duration::from_secs(30), "a connection to PostgreSQL does not end");
        thread::sleep(Duration::from_millis(10));
    }
    let after = counts(servers, kind.server())?;
    Ok(before.iter().zip(&after).map(|(before, after)| after - before).collect())
}

fn counts(servers: &Servers, server: Server) -> Result<Vec<f64>> {
    Ok(match server {
        Server::Redis => vec![servers.redis_reads()?, servers.redis_commands()?],
        Server::Postgres => vec![servers.transactions(DURABLE)?],
    })
}
