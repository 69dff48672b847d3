//! Eight processes that want one lock all the time, and hold it for a while.

use std::time::Duration;

use anyhow::Result;

use super::{
    errand::Worker,
    kind::Kind,
    present,
    servers::{DURABLE, Servers},
};
use crate::{
    machine::clock,
    measure::{Contender, Plan, rounds},
    report::{Aim, Table},
};

const KINDS: [Kind; 8] = [
    Kind::OursRedis,
    Kind::OursRedisAwaited,
    Kind::OursPostgres,
    Kind::Advisory,
    Kind::PythonRedisLock,
    Kind::RedisPy,
    Kind::Rslock,
    Kind::NodeRedlock,
];

const PROCESSES: usize = 8;
const HOLD: Duration = Duration::from_millis(10);
/// When each waits for the turns of all: what first come, first served makes of it.
const IDEAL: f64 = 80.0;

pub(crate) fn fairness(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let servers = Servers::start()?;
    let time = Duration::from_secs(if plan.quick { 2 } else { 10 });
    let (here, missing) = present(&KINDS);
    let mut round = 0;
    let contenders = here.into_iter().map(|kind| {
        let servers = &servers;
        Contender::new(kind.name(), move || {
            round += 1;
            together(servers, kind, &format!("fair/{kind:?}/{round}"), time)
        })
    });
    let table = Table::new(
        &format!("8 processes on one lock, each holds 10 ms, for {} s; {}", time.as_secs(), servers.versions()?),
        &format!(
            "Longest wait over {IDEAL} ms, one turn of each of the 8. The run ends waits that are longer.{missing}"
        ),
        &["longest wait, ms", "over the FIFO ideal", "turns, most / fewest", "turns/s (at best 100)"],
        "",
        rounds(plan.at_most(if plan.quick { 1 } else { 3 }), contenders.collect())?,
    );
    let mut aims = Vec::new();
    for kind in KINDS.iter().take(3) {
        let figure = |column| table.median(kind.name(), column);
        aims.push(Aim::at_most(
            format!("8 processes, {}: longest wait / FIFO ideal", kind.name()),
            1.1,
            "x",
            figure(1),
        ));
        aims.push(Aim::at_most(format!("8 processes, {}: turns, most / fewest", kind.name()), 1.05, "x", figure(2)));
    }
    Ok((vec![table], aims))
}

fn together(servers: &Servers, kind: Kind, lock: &str, time: Duration) -> Result<Vec<f64>> {
    let url = servers.url(kind, DURABLE);
    let mut workers = (0..PROCESSES).map(|_| Worker::start(kind, &url, lock, None)).collect::<Result<Vec<_>>>()?;
    let until = clock() + time.as_nanos() as u64;
    for worker in &mut workers {
        worker.tell(&format!("turns {} {until}", HOLD.as_nanos()))?;
    }
    let mut told = Vec::new();
    for worker in &mut workers {
        told.push(worker.numbers::<2>()?);
    }
    let turns = |pick: fn(f64, f64) -> f64| told.iter().map(|&[turns, _]| turns).reduce(pick).unwrap_or(0.0);
    let longest = told.iter().map(|&[_, wait]| wait).fold(0.0, f64::max) / 1e6;
    let all: f64 = told.iter().map(|&[turns, _]| turns).sum();
    Ok(vec![longest, longest / IDEAL, turns(f64::max) / turns(f64::min), all / time.as_secs_f64()])
}
