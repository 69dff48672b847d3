//! Opens the engine that a URL names: one per target and process, so that one name is one lock.

pub(crate) mod url;

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

#[cfg(feature = "cluster")]
use crate::engine::cluster::Cluster;
use crate::{
    engine::{
        Engine,
        file::{FileEngine, FileObserver},
        observing::{Observer, Observing},
        table::{Geometry, Sharing, Table, TableObserver},
    },
    open::url::Target,
    words::error::Error,
};

/// Engines by purpose. They live as long as the process.
type Engines = OnceLock<Mutex<HashMap<Target, &'static dyn Engine>>>;

/// The observing engine of a target: one per target and process.
pub(crate) fn observe((target, geometry): (Target, Geometry)) -> Result<&'static dyn Engine, Error> {
    static OBSERVED: Engines = OnceLock::new();
    let mut observed = OBSERVED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = observed.get(&target) {
        return Ok(*engine);
    }
    let observer: Box<dyn Observer> = match &target {
        Target::Local(_) => Box::new(open((target.clone(), geometry))?),
        Target::Host(path) => Box::new(TableObserver::new(path.clone(), Sharing::User)?),
        Target::Group(path) => Box::new(TableObserver::new(path.clone(), Sharing::Group)?),
        Target::File(directory) => Box::new(FileObserver::new(directory.clone())),
        #[cfg(feature = "cluster")]
        Target::Cluster(address) => Cluster::observe((**address).clone())?,
    };
    let engine: &'static dyn Engine = Box::leak(Box::new(Observing(observer)));
    observed.insert(target, engine);
    Ok(engine)
}

/// The engine of a target: one per target and process, so that one name is one lock.
pub(crate) fn open((target, geometry): (Target, Geometry)) -> Result<&'static dyn Engine, Error> {
    static OPEN: Engines = OnceLock::new();
    let mut open = OPEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = open.get(&target) {
        return Ok(*engine);
    }
    let engine: &'static dyn Engine = match &target {
        Target::Local(_) => Table::local(target.to_string(), geometry)?,
        Target::Host(path) => Table::host(path, geometry, Sharing::User)?,
        Target::Group(path) => Table::host(path, geometry, Sharing::Group)?,
        Target::File(directory) => FileEngine::open(directory)?,
        #[cfg(feature = "cluster")]
        Target::Cluster(address) => Cluster::open((**address).clone())?,
    };
    open.insert(target, engine);
    Ok(engine)
}
