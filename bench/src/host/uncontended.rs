//! One process acquires and releases a lock that nobody else wants.

use std::hint::black_box;

use anyhow::Result;
use concurrent_locks::Mode;

use super::folder;
use crate::{
    measure::{Contender, Plan, per_call, rounds},
    peers::{Kind, Lock, Work},
    report::{Aim, Table},
};

const KINDS: [Kind; 6] = [Kind::Futex, Kind::Rwlock, Kind::Flock, Kind::Ofd, Kind::Named, Kind::Strict];

pub(crate) fn uncontended(plan: Plan) -> Result<(Table, Vec<Aim>)> {
    let folder = folder()?;
    let mut contenders = Vec::new();
    for kind in KINDS {
        let place = folder.path().join(format!("{kind:?}"));
        std::fs::create_dir(&place)?;
        kind.create(&place, 1)?;
        contenders.push(Contender::new(kind.name(), move || kind.with(&place, 1, Uncontended(plan))));
    }
    let table = Table::new(
        "Between processes, nobody else wants the lock: ns per lock + unlock",
        "The file locks keep their file open. Ours waits by .blocking().",
        &["read", "write"],
        Kind::Flock.name(),
        rounds(plan, contenders)?,
    );
    let ratio = |kind: Kind, column| table.ratio(kind.name(), Kind::Flock.name(), column);
    let aims = vec![
        Aim::at_most("host: uncontended write, by name / flock", 0.10, "x", ratio(Kind::Named, 1)),
        Aim::at_most("host: uncontended write, by handle / flock", 0.10, "x", ratio(Kind::Strict, 1)),
        Aim::at_most("host: uncontended read, by name / flock", 0.10, "x", ratio(Kind::Named, 0)),
    ];
    Ok((table, aims))
}

struct Uncontended(Plan);

impl Work for Uncontended {
    type Output = Vec<f64>;

    fn run<L: Lock>(self, locks: &[L]) -> Result<Vec<f64>> {
        let pass = |mode| {
            per_call(self.0.slice, |_| {
                drop(black_box(locks[0].lock(mode)?));
                Ok(())
            })
        };
        Ok(vec![pass(Mode::Read)?, pass(Mode::Write)?])
    }
}
