//! From a release to the other process that goes on.

use anyhow::Result;

use super::{Role, relay, stage::Stage};
use crate::{
    machine::cpus,
    measure::{Contender, Plan, rounds},
    peers::Kind,
    report::{Aim, Table},
};

const KINDS: [Kind; 5] = [Kind::Futex, Kind::Rwlock, Kind::Flock, Kind::Ofd, Kind::Strict];

pub(crate) fn handoff(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let contenders = KINDS.map(|kind| Contender::new(kind.name(), move || between_processes(kind)));
    let table = Table::new(
        "Hand-off between two processes, us from release to acquired",
        "The waiter sleeps when the lock is released; both processes bound to one CPU, or to two.",
        &["same CPU, median", "p99", "other CPU, median", "p99"],
        Kind::Futex.name(),
        rounds(plan.at_most(7), contenders.into())?,
    );
    let ratio = |column| table.ratio(Kind::Strict.name(), Kind::Futex.name(), column);
    let aims = vec![
        Aim::at_most("hand-off to a sleeper, same CPU / bare futex", 1.1, "x", ratio(0)),
        Aim::at_most("hand-off to a sleeper, other CPU / bare futex", 1.1, "x", ratio(2)),
    ];
    Ok((table, aims))
}

fn between_processes(kind: Kind) -> Result<Vec<f64>> {
    let cpus = cpus()?;
    let mut figures = Vec::new();
    for taker in [cpus[0], cpus[1 % cpus.len()]] {
        let mut stage = Stage::new(kind, 1)?;
        stage.add(Role::Give, Some(cpus[0]))?;
        stage.add(Role::Take, Some(taker))?;
        stage.start()?;
        stage.join(0)?;
        stage.join(1)?;
        figures.extend(relay::figures(&stage.board));
    }
    Ok(figures)
}
