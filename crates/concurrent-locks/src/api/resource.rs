//! [`Resource`]: a handle for hot paths.

use std::{fmt, sync::atomic::AtomicU64};

use crate::{
    api::request::Request,
    engine::Engine,
    words::{error::Error, mode::Mode, name::Name, settings::Settings},
};

/// One resource, looked up once. Made by [`LockManager::resource`](crate::LockManager::resource).
///
/// Requests through a handle skip hashing and the search for the name. The handle caches a place, not a
/// lock: if the resource was evicted in between, it is looked up again.
pub struct Resource {
    engine: &'static dyn Engine,
    settings: Settings,
    name: String,
    remembered: Remembered,
}

/// The cached data of a handle.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// Of the name, which was checked.
    pub(crate) hash: u64,
    /// Where the engine last found it.
    pub(crate) place: AtomicU64,
}

impl Resource {
    pub(crate) fn new(engine: &'static dyn Engine, settings: Settings, name: &str) -> Result<Resource, Error> {
        let checked = Name::new(name)?;
        Ok(Resource {
            engine,
            settings,
            name: checked.text().to_owned(),
            remembered: Remembered { hash: checked.hash(), place: AtomicU64::new(0) },
        })
    }

    /// The resource's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request to share it with other readers.
    #[inline]
    pub fn read(&self) -> Request<'_> {
        self.request(Mode::Read)
    }

    /// A request to hold it exclusively.
    #[inline]
    pub fn write(&self) -> Request<'_> {
        self.request(Mode::Write)
    }

    /// A request to hold it in `mode`.
    #[inline]
    pub fn request(&self, mode: Mode) -> Request<'_> {
        Request::new(self.engine, &self.settings, &self.name, Some(&self.remembered), mode)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("name", &self.name).field("url", &self.engine.url()).finish()
    }
}
