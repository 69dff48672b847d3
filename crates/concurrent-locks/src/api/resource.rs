//! [`Resource`]: a handle for hot paths.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use crate::{
    api::{identity::Identity, owner::Owner, request::Request},
    engine::Engine,
    words::{error::Error, mode::Mode, name::Name, settings::Settings},
};

/// One resource, looked up once. Made by [`LockManager::resource`](crate::LockManager::resource).
///
/// Requests through a handle skip hashing and the search for the name. The handle remembers a place,
/// not a lock: when the resource was idle and reclaimed in between, it is looked up again.
///
/// ```
/// # use concurrent_locks::LockManager;
/// let counter = LockManager::local().resource("doc:resource")?;
/// for _ in 0..1000 {
///     let _guard = counter.write().blocking()?;
/// }
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
pub struct Resource {
    engine: &'static dyn Engine,
    settings: Settings,
    name: String,
    /// Of the name, which was checked.
    hash: u64,
    /// Where the engine last found it.
    place: AtomicU64,
    /// The requester; `None` for an owner of its own at each request.
    identity: Option<Arc<Identity>>,
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
            identity: None,
        })
    }

    /// The same resource, asked for by this owner. [`Owner::resource`] makes one.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-resource-owner").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let skills = locks.resource("skills")?.owner(&agent);
    /// let outer = agent.write("skills").blocking()?;
    /// assert_eq!(skills.read().blocking()?.token(), outer.token()); // re-enters
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn owner(mut self, owner: &Owner) -> Resource {
        self.identity = Some(Arc::clone(owner.identity()));
        self
    }

    /// The resource's name.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-resource-name").blocking()?;
    /// assert_eq!(locks.resource("skills")?.name(), "skills");
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request to hold it together with other readers.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-resource-read").blocking()?;
    /// let skills = locks.resource("skills")?;
    /// let _together = (skills.read().blocking()?, skills.read().blocking()?);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[inline]
    pub fn read(&self) -> Request<'_> {
        self.request(Mode::Read)
    }

    /// A request to hold it alone.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-resource-write").blocking()?;
    /// let skills = locks.resource("skills")?;
    /// let _alone = skills.write().blocking()?;
    /// assert!(skills.read().try_now().is_err());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[inline]
    pub fn write(&self) -> Request<'_> {
        self.request(Mode::Write)
    }

    /// A request to hold it in `mode`.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-resource-request").blocking()?;
    /// let skills = locks.resource("skills")?;
    /// for mode in Mode::ALL {
    ///     assert_eq!(skills.request(mode).blocking()?.mode(), mode);
    /// }
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[inline]
    pub fn request(&self, mode: Mode) -> Request<'_> {
        let identity = self.identity.as_ref().map(|identity| identity.in_this_process());
        Request::known(self.engine, &self.settings, Name::known(&self.name, self.hash), &self.place, mode)
            .identity(identity)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("name", &self.name).field("url", &self.engine.url()).finish()
    }
}
