//! 64 tasks of one process, on one connection, each with a lock of its own.

use std::time::Duration;

use anyhow::Result;

use super::{
    errand::Worker,
    kind::Kind,
    servers::{DURABLE, RELAXED, Servers},
};
use crate::{
    measure::{Contender, Plan, rounds},
    report::{Aim, Table},
};

const REDIS: [Kind; 3] = [Kind::ScriptsAwaited, Kind::OursRedisAwaited, Kind::Rslock];
const POSTGRES: [Kind; 2] = [Kind::StatementsAwaited, Kind::OursPostgresAwaited];
const TASKS: usize = 64;

pub(crate) fn tasks(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let servers = Servers::start()?;
    let slice = Duration::from_millis(if plan.quick { 200 } else { 1000 });
    let table = |title: &str, columns: &[&str], kinds: &[Kind], databases: &[&str]| -> Result<Table> {
        let mut contenders = Vec::new();
        for &kind in kinds {
            let mut workers = Vec::new();
            for database in databases {
                workers.push(Worker::start(kind, &servers.url(kind, database), &format!("tasks/{kind:?}"), None)?);
            }
            contenders.push(Contender::new(kind.name(), move || {
                workers.iter_mut().map(|worker| together(worker, slice)).collect()
            }));
        }
        let note = "Wall clock. The tasks run on one thread; the server is bound to one CPU, the client is not.";
        Ok(Table::new(title, note, columns, kinds[0].name(), rounds(plan.at_most(7), contenders)?))
    };
    let redis = table(
        &format!("64 tasks on one connection to Redis: thousand pairs/s; {}", servers.versions()?),
        &["thousand pairs/s"],
        &REDIS,
        &[DURABLE],
    )?;
    let postgres = table(
        "64 tasks on one connection to PostgreSQL: thousand pairs/s",
        &["thousand pairs/s", "synchronous_commit off"],
        &POSTGRES,
        &[DURABLE, RELAXED],
    )?;
    let [redis_raw, redis_ours, _] = REDIS.map(Kind::name);
    let [postgres_raw, postgres_ours] = POSTGRES.map(Kind::name);
    let aims = vec![
        Aim::at_least("redis, 64 tasks / raw EVALSHA pairs", 0.8, "x", redis.ratio(redis_ours, redis_raw, 0)),
        Aim::at_least(
            "postgres, 64 tasks / raw prepared pairs",
            0.8,
            "x",
            postgres.ratio(postgres_ours, postgres_raw, 0),
        ),
    ];
    Ok((vec![redis, postgres], aims))
}

fn together(worker: &mut Worker, slice: Duration) -> Result<f64> {
    worker.tell(&format!("tasks {TASKS} {}", slice.as_nanos()))?;
    let [pairs, time] = worker.numbers()?;
    Ok(pairs / (time / 1e9) / 1e3)
}
