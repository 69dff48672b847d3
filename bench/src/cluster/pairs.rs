//! One process acquires and releases a lock that nobody else wants.

use anyhow::Result;

use super::{
    errand::Worker,
    kind::Kind,
    present,
    servers::{DURABLE, RELAXED, Servers},
};
use crate::{
    machine::cpus,
    measure::{Contender, Plan, rounds},
    report::{Aim, Table},
};

const REDIS: [Kind; 8] = [
    Kind::Scripts,
    Kind::ScriptsAwaited,
    Kind::OursRedis,
    Kind::OursRedisAwaited,
    Kind::Rslock,
    Kind::RedisPy,
    Kind::PythonRedisLock,
    Kind::NodeRedlock,
];
const POSTGRES: [Kind; 5] =
    [Kind::Statements, Kind::StatementsAwaited, Kind::OursPostgres, Kind::OursPostgresAwaited, Kind::Advisory];

pub(crate) fn uncontended(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let servers = Servers::start()?;
    let note = "The client on the server's CPU, or on another. Awaited, ours goes on before the release is answered.";
    let redis = table(
        &servers,
        plan,
        &format!("On Redis, nobody else wants the lock: us per lock + unlock; {}", servers.versions()?),
        note,
        &["same CPU", "other CPU"],
        &REDIS,
    )?;
    let postgres = table(
        &servers,
        plan,
        "On PostgreSQL, nobody else wants the lock: us per lock + unlock",
        &format!("{note} pg_advisory_lock writes nothing."),
        &["same CPU", "other CPU", "synchronous_commit off", "other CPU"],
        &POSTGRES,
    )?;
    let mut aims = Vec::new();
    let cases = [
        ("redis", &redis, Kind::OursRedis, Kind::Scripts, 2),
        ("redis, awaited", &redis, Kind::OursRedisAwaited, Kind::ScriptsAwaited, 2),
        ("postgres", &postgres, Kind::OursPostgres, Kind::Statements, 4),
        ("postgres, awaited", &postgres, Kind::OursPostgresAwaited, Kind::StatementsAwaited, 4),
    ];
    let raw =
        |kind| if kind == Kind::Scripts || kind == Kind::ScriptsAwaited { "two EVALSHA" } else { "two prepared calls" };
    for (server, table, ours, floor, columns) in cases {
        for (column, place) in table.columns.iter().enumerate().take(columns) {
            let ratio = table.ratio(ours.name(), floor.name(), column);
            let relaxed = if column == 3 { "synchronous_commit off, " } else { "" };
            aims.push(Aim::at_most(format!("{server} pair / {}, {relaxed}{place}", raw(floor)), 1.15, "x", ratio));
        }
    }
    Ok((vec![redis, postgres], aims))
}

fn table(servers: &Servers, plan: Plan, title: &str, note: &str, columns: &[&str], kinds: &[Kind]) -> Result<Table> {
    let cpus = cpus()?;
    let pairs = if plan.quick { 100 } else { 400 };
    let (here, missing) = present(kinds);
    let databases = if columns.len() > 2 { &[DURABLE, RELAXED][..] } else { &[DURABLE] };
    let mut contenders = Vec::new();
    for kind in here {
        let mut workers = Vec::new();
        for database in databases {
            for cpu in [cpus[0], cpus[1 % cpus.len()]] {
                let lock = format!("pair/{kind:?}/{database}/{cpu}");
                workers.push(Worker::start(kind, &servers.url(kind, database), &lock, Some(cpu))?);
            }
        }
        contenders.push(Contender::new(kind.name(), move || {
            workers.iter_mut().map(|worker| Ok(worker.pairs(pairs)? / f64::from(pairs) / 1e3)).collect()
        }));
    }
    let against = kinds[0].name();
    Ok(Table::new(title, &format!("{note}{missing}"), columns, against, rounds(plan, contenders)?))
}
