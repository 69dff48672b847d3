//! The cases, one file for each group of promises.

// A case that is written but not registered would be dead code.
#![deny(dead_code)]

mod begun;
mod break_lock;
mod cancellation;
mod deadlock;
mod errors;
mod events;
mod exclusion;
mod guards;
mod histories;
mod leases;
mod multi;
mod names;
mod order;
mod owners;
mod priority;
mod process_deadlock;
mod process_death;
mod process_fork;
mod processes;
mod runtimes;
mod scale;
mod statistics;
mod status;
mod timeouts;
mod tokens;
mod upgrade;

use crate::case::Case;

const GROUPS: &[(&str, &[Case])] = &[
    ("exclusion", exclusion::CASES),
    ("order", order::CASES),
    ("timeouts", timeouts::CASES),
    ("cancellation", cancellation::CASES),
    ("begun", begun::CASES),
    ("owners", owners::CASES),
    ("guards", guards::CASES),
    ("leases", leases::CASES),
    ("upgrade", upgrade::CASES),
    ("multi", multi::CASES),
    ("priority", priority::CASES),
    ("tokens", tokens::CASES),
    ("deadlock", deadlock::CASES),
    ("names", names::CASES),
    ("errors", errors::CASES),
    ("runtimes", runtimes::CASES),
    ("status", status::CASES),
    ("statistics", statistics::CASES),
    ("events", events::CASES),
    ("break_lock", break_lock::CASES),
    ("processes", processes::CASES),
    ("process_death", process_death::CASES),
    ("process_deadlock", process_deadlock::CASES),
    ("process_fork", process_fork::CASES),
    ("histories", histories::CASES),
    ("scale", scale::CASES),
];

/// Every case with the name of its group.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Case)> {
    GROUPS.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (*group, case)))
}
