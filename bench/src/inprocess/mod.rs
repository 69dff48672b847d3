//! Locks between the tasks and threads of one process.

mod growth;
mod handoff;
mod memory;
mod threads;
mod uncontended;

use std::sync::Arc;

use anyhow::Result;
use dashmap::DashMap;
use tokio::{runtime::Runtime, sync::RwLock};

pub(crate) use growth::growth;
pub(crate) use handoff::handoff;
pub(crate) use memory::{Cargo, memory, weigh};
pub(crate) use threads::threads;
pub(crate) use uncontended::uncontended;

const TOKIO: &str = "tokio RwLock";
const IDIOM: &str = "DashMap<String, Arc<tokio RwLock>>";
const OURS_NAMED: &str = "ours, by name";
const OURS_HANDLE: &str = "ours, handle";

/// What people write today for locks with names.
type Idiom = DashMap<String, Arc<RwLock<()>>>;

fn idiom(names: &[String]) -> Idiom {
    names.iter().map(|name| (name.clone(), Arc::default())).collect()
}

/// The lock of a name, as the idiom finds it.
fn found(map: &Idiom, name: &str) -> Arc<RwLock<()>> {
    map.get(name).map(|lock| Arc::clone(&lock)).expect("every name was put in")
}

/// Names as agents use them, 24 bytes each.
fn names(space: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{space:.8}/episodes/{index:06}")).collect()
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?)
}
