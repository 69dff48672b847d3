//! [`Resource`]: a handle for hot paths.

use std::{fmt, sync::atomic::AtomicU64};

use crate::{
    api::request::Request,
    engine::Engine,
    words::{error::Error, mode::Mode, name::Name, settings::Settings},
};

/// One resource, looked up once. Made by [`LockManager::resource`](crate::LockManager::resource).
///
/// Requests through a handle skip hashing and the search for the name. The handle remembers a place,
/// not a lock: when the resource was idle and reclaimed in between, it is found anew.
pub struct Resource {
    engine: &'static dyn Engine,
    settings: Settings,
    name: String,
    /// Of the name, which was checked.
    hash: u64,
    /// Where the engine last found it.
    place: AtomicU64,
}

impl Resource {
    pub(crate) fn new(engine: &'static dyn Engine, settings: Settings, name: &str) -> Result<Resource, Error> {
        let checked = Name::new(name)?;
        Ok(Resource {
            engine,
            settings,
            name: checked.text().to_owned(),
            hash: checked.hash(),
            place: AtomicU64::new(0),
        })
    }

    /// The resource's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request to hold it together with other readers.
    #[inline]
    pub fn read(&self) -> Request<'_> {
        self.request(Mode::Read)
    }

    /// A request to hold it alone.
    #[inline]
    pub fn write(&self) -> Request<'_> {
        self.request(Mode::Write)
    }

    /// A request to hold it in `mode`.
    #[inline]
    pub fn request(&self, mode: Mode) -> Request<'_> {
        Request::known(self.engine, &self.settings, Name::known(&self.name, self.hash), &self.place, mode)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("name", &self.name).field("url", &self.engine.url()).finish()
    }
}
