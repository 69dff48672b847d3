//! Inspecting the locks of a server without creating its schema: a missing schema means that there are none.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use super::{Address, CAPABILITIES, Cluster};
use crate::{
    engine::{Capabilities, Engine, observing::Observer},
    words::{
        deadlock::DeadlockReport,
        error::{Error, ErrorKind},
        event::Event,
        name::Name,
        stats::StatisticsMap,
        status::{Health, StatusMap},
    },
};

/// How often it is looked whether the schema has come into being.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct ClusterObserver {
    address: Address,
    url: String,
    engine: OnceLock<&'static dyn Engine>,
    /// Why there is nothing to see.
    absence: Mutex<Option<String>>,
}

impl ClusterObserver {
    pub(super) fn new(address: Address) -> ClusterObserver {
        let url = address.to_string();
        ClusterObserver { address, url, engine: OnceLock::new(), absence: Mutex::default() }
    }

    /// `None` while there is nothing to look at.
    pub(super) fn engine(&self) -> Result<Option<&'static dyn Engine>, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(Some(*engine));
        }
        let (engine, absence) = match Cluster::open(self.address.clone()) {
            Ok(engine) => (Some(*self.engine.get_or_init(|| engine)), None),
            Err(error) if error.kind() == ErrorKind::Closed => (None, Some(error.to_string())),
            Err(error) => return Err(error),
        };
        *self.absence.lock().unwrap_or_else(PoisonError::into_inner) = absence;
        Ok(engine)
    }

    fn look<R: Default>(&self, look: impl FnOnce(&'static dyn Engine) -> Result<R, Error>) -> Result<R, Error> {
        self.engine()?.map_or_else(|| Ok(R::default()), look)
    }
}

impl Observer for ClusterObserver {
    fn url(&self) -> &str {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        self.look(|engine| engine.status(name))
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.look(|engine| engine.statistics(name))
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.look(|engine| engine.deadlocks(suspect_after))
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        if let Some(engine) = self.engine()? {
            return engine.events(cursor, wait);
        }
        std::thread::sleep(wait.min(LOOK_AGAIN));
        Ok((Vec::new(), 0))
    }

    fn health(&self) -> Result<Health, Error> {
        match self.engine()? {
            Some(engine) => engine.health(),
            None => Ok(Health { url: self.url.clone(), ..Health::default() }),
        }
    }

    fn unseen(&self) -> Vec<String> {
        Vec::new()
    }

    fn absence(&self) -> Option<String> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
