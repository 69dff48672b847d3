//! Locks on a server, by many processes. The workers are this program, started again, and programs in the
//! peers' languages; all do the same errands ([`errand`]).

mod errand;
mod fairness;
mod handoff;
mod kind;
mod pairs;
mod servers;
mod tasks;
mod trips;
mod worker;

pub(crate) use fairness::fairness;
pub(crate) use handoff::handoff;
pub(crate) use kind::Kind;
pub(crate) use pairs::uncontended;
pub(crate) use tasks::tasks;
pub(crate) use trips::trips;
pub(crate) use worker::run as work;

/// Those that can be started here, and a sentence about the others.
fn present(kinds: &[Kind]) -> (Vec<Kind>, String) {
    let (mut here, mut missing) = (Vec::new(), String::new());
    for &kind in kinds {
        match kind.command() {
            Ok(_) => here.push(kind),
            Err(why) => missing += &format!(" NOT HERE: {}: {why:#}.", kind.name()),
        }
    }
    (here, missing)
}
