//! Owners: the identity behind requests. The unit of attribution, re-entry and deadlock detection.

use std::sync::Arc;

use crate::{
    api::{identity::Identity, manager::LockManager, request::Request, request_all::RequestAll, resource::Resource},
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
        owner_id::OwnerId,
        variables::{OWNER_ID_VARIABLE, OWNER_VARIABLE},
    },
};

/// An agent, task or worker that acquires locks under its own name.
///
/// Made by [`LockManager::owner`]. Requests made through it (or with
/// [`Request::owner`](crate::Request::owner)) belong together: they re-enter each other's grants at once
/// with the same token, and a cycle of owners waiting for each other is found when it closes. Clones are
/// the same owner, except in a forked child, where they are another one with the same label. Without an
/// owner each request is an owner of its own.
///
/// ```
/// # use concurrent_locks::LockManager;
/// let locks = LockManager::local();
/// let agent = locks.owner("agent-7")?;
/// let outer = agent.write("doc:owner").blocking()?;
/// let inner = agent.read("doc:owner").blocking()?; // re-enters: the same owner holds it
/// assert_eq!(outer.token(), inner.token());
/// # Ok::<(), concurrent_locks::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Owner {
    manager: LockManager,
    identity: Arc<Identity>,
}

/// The maximum number of owners that one may inherit from.
const MAX_ANCESTORS: usize = 64;

fn parse_ids(text: &str) -> Result<Vec<u64>, Error> {
    let ids: Option<Vec<u64>> = text.split('.').map(|id| u64::from_str_radix(id, 16).ok()).collect();
    ids.filter(|ids| ids.len() <= MAX_ANCESTORS).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("{OWNER_ID_VARIABLE}={text:?} is not a list of at most {MAX_ANCESTORS} owner ids (hexadecimal digits, joined by dots)"),
        )
    })
}

impl Owner {
    pub(crate) fn new(manager: LockManager, label: &str) -> Result<Owner, Error> {
        manager.enter()?;
        Ok(Owner { manager, identity: Arc::new(Identity::new(label, Vec::new())?) })
    }

    /// A child of the owner that the parent process passed down in the environment, if any.
    pub(crate) fn inherited(manager: LockManager) -> Result<Option<Owner>, Error> {
        // An empty variable is as good as none, as everywhere.
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let Some(label) = variable(OWNER_VARIABLE) else { return Ok(None) };
        manager.enter()?;
        let ancestors = variable(OWNER_ID_VARIABLE).map_or(Ok(Vec::new()), |text| parse_ids(&text))?;
        Ok(Some(Owner { manager, identity: Arc::new(Identity::new(&label, ancestors)?) }))
    }

    /// What a child process needs in its environment to inherit from this owner: names and values.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-environment").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let mut child = std::process::Command::new("worker");
    /// child.envs(agent.environment()); // it calls `LockManager::inherited_owner`
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let identity = self.identity();
        identity.hand_down();
        let ids = identity.who.ancestors.iter().chain([&identity.who.id]).map(|id| OwnerId(*id).to_string());
        [(OWNER_VARIABLE, self.label().to_owned()), (OWNER_ID_VARIABLE, ids.collect::<Vec<_>>().join("."))]
    }

    /// The id, as status, events and errors show it.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-id").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let _guard = agent.write("skills").blocking()?;
    /// assert_eq!(locks.status("skills").blocking()?.unwrap().holders[0].owner, Some(agent.id()));
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> OwnerId {
        OwnerId(self.identity().who.id)
    }

    /// The label.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-label").blocking()?;
    /// assert_eq!(locks.owner("agent-7")?.label(), "agent-7");
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn label(&self) -> &str {
        &self.identity.who.label
    }

    /// The locks that it asks for, for what no owner is needed: status, statistics, events.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-manager").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let _guard = agent.write("skills").blocking()?;
    /// assert!(agent.manager().status("skills").blocking()?.unwrap().writer_active);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn manager(&self) -> &LockManager {
        &self.manager
    }

    /// The same owner with another manager, so that cycles through both count as one owner's.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-with").blocking()?;
    /// let elsewhere = LockManager::connect("local:doc-owner-with-2").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let _both = (agent.write("a").blocking()?, agent.with(&elsewhere).write("b").blocking()?);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn with(&self, manager: &LockManager) -> Owner {
        Owner { manager: manager.clone(), identity: Arc::clone(&self.identity) }
    }

    /// [`LockManager::read`], by this owner.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-read").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let _shared = agent.read("skills").blocking()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn read<'a>(&'a self, name: &'a str) -> Request<'a> {
        self.request(name, Mode::Read)
    }

    /// [`LockManager::write`], by this owner.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-write").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let _alone = agent.write("skills").blocking()?;
    /// assert!(agent.read("skills").try_now().is_ok()); // re-enters
    /// assert!(locks.read("skills").try_now().is_err());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn write<'a>(&'a self, name: &'a str) -> Request<'a> {
        self.request(name, Mode::Write)
    }

    /// [`LockManager::request`], by this owner.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-owner-request").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// assert_eq!(agent.request("skills", Mode::Read).blocking()?.mode(), Mode::Read);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn request<'a>(&'a self, name: &'a str, mode: Mode) -> Request<'a> {
        self.manager.request(name, mode).owner(self)
    }

    /// [`LockManager::resource`], by this owner.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner-resource").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let skills = agent.resource("skills")?;
    /// let _guard = skills.write().blocking()?;
    /// assert_eq!(locks.status("skills").blocking()?.unwrap().holders[0].label, "agent-7");
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidName`.
    pub fn resource(&self, name: &str) -> Result<Resource, Error> {
        Ok(self.manager.resource(name)?.owner(self))
    }

    /// [`LockManager::lock_all`], by this owner.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-owner-all").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let both = agent.lock_all([("a", Mode::Read), ("b", Mode::Write)]).blocking()?;
    /// assert_eq!(both.len(), 2);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn lock_all<'a>(&'a self, wanted: impl IntoIterator<Item = (&'a str, Mode)>) -> RequestAll {
        self.manager.lock_all(wanted).owner(self)
    }

    /// The owner of requests made in this process: in a forked child another one of the same label.
    #[inline]
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        self.identity.in_this_process()
    }
}
