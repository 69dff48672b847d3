//! From the release in one process to the grant seen in another that waits.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::{
    errand::Worker,
    kind::Kind,
    present,
    servers::{DURABLE, Servers},
};
use crate::{
    machine::cpus,
    measure::{Contender, Dice, Plan, Series, below, rounds},
    report::{Aim, Table},
};

const KINDS: [Kind; 13] = [
    Kind::Blpop,
    Kind::Publish,
    Kind::Notify,
    Kind::NotifyRow,
    Kind::OursRedis,
    Kind::OursRedisAwaited,
    Kind::OursPostgres,
    Kind::OursPostgresAwaited,
    Kind::Advisory,
    Kind::PythonRedisLock,
    Kind::RedisPy,
    Kind::Rslock,
    Kind::NodeRedlock,
];

/// Longer than the pause of any poller (0 to 200 ms, 200 +/- 100 ms), so that it is met anywhere in it.
const POLLERS_PAUSE: usize = 300_000;
/// Long enough to be waiting.
const PAUSE: usize = 3_000;

pub(crate) fn handoff(plan: Plan) -> Result<(Vec<Table>, Vec<Aim>)> {
    let servers = Servers::start()?;
    let cpus = cpus()?;
    let (here, missing) = present(&KINDS);
    let mut contenders = Vec::new();
    for kind in here {
        let mut pairs = Vec::new();
        for cpu in [cpus[0], cpus[1 % cpus.len()]] {
            let lock = format!("handoff/{kind:?}/{cpu}");
            let url = servers.url(kind, DURABLE);
            let start = || Worker::start(kind, &url, &lock, Some(cpu));
            pairs.push((start()?, start()?, Dice::default()));
        }
        contenders.push(Contender::new(kind.name(), move || {
            let mut figures = Vec::new();
            for (giver, taker, dice) in &mut pairs {
                let late = series(plan, kind, giver, taker, dice)?;
                figures.extend([late.median(), late.at(0.95)]);
            }
            Ok(figures)
        }));
    }
    let table = Table::new(
        &format!("Hand-off between two processes, us from release to acquired; {}", servers.versions()?),
        &format!("The other one waits. Both processes on the server's CPU, or both on another.{missing}"),
        &["same CPU, median", "p95", "other CPU, median", "p95"],
        Kind::Blpop.name(),
        rounds(plan.at_most(5), contenders)?,
    );
    let mut aims = Vec::new();
    // The aim is against the bare push; against one that writes as well, only the table compares.
    for (ours, raw, what) in [
        (Kind::OursRedis, Kind::Blpop, "redis hand-off / BLPOP wake"),
        (Kind::OursRedis, Kind::Publish, "redis hand-off / PUBLISH wake"),
        (Kind::OursRedisAwaited, Kind::Publish, "redis hand-off, awaited / PUBLISH wake"),
        (Kind::OursPostgres, Kind::Notify, "postgres hand-off / NOTIFY wake"),
        (Kind::OursPostgresAwaited, Kind::Notify, "postgres hand-off, awaited / NOTIFY wake"),
    ] {
        for (column, place) in [(0, "same CPU"), (2, "other CPU")] {
            let ratio = table.ratio(ours.name(), raw.name(), column);
            aims.push(Aim::at_most(format!("{what}, {place}"), 1.3, "x", ratio));
        }
    }
    Ok((vec![table], aims))
}

fn series(plan: Plan, kind: Kind, giver: &mut Worker, taker: &mut Worker, dice: &mut Dice) -> Result<Series> {
    let polls = matches!(kind, Kind::RedisPy | Kind::Rslock | Kind::NodeRedlock);
    let samples = match (polls, plan.quick) {
        (true, true) => 3,
        (true, false) => 9,
        (false, true) => 30,
        (false, false) => 100,
    };
    let late = (0..samples).map(|_| {
        giver.tell("hold")?;
        giver.expect("held")?;
        taker.tell("take")?;
        taker.expect("asking")?;
        let pause = 1_000 + below(dice.roll(), if polls { POLLERS_PAUSE } else { PAUSE });
        thread::sleep(Duration::from_micros(pause as u64));
        giver.tell("release")?;
        let [released] = giver.numbers()?;
        let [taken] = taker.numbers()?;
        ensure!(taken > released, "{} had the lock before it was free", kind.name());
        Ok((taken - released) / 1e3)
    });
    Ok(Series::new(late.collect::<Result<Vec<f64>>>()?))
}
