//! Owners: who asks. The unit of attribution, re-entry and deadlock detection.

use std::sync::Arc;

use crate::{
    api::{identity::Identity, manager::LockManager, request::Request, request_all::RequestAll},
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
        variables::{OWNER_ID_VARIABLE, OWNER_VARIABLE},
    },
};

/// An agent, task or worker that takes locks under its own name.
///
/// Made by [`LockManager::owner`]. Requests made through it (or given it with
/// [`Request::owner`](crate::Request::owner)) belong together: what one of them holds, another
/// re-enters at once with the same token; a cycle of owners waiting for each other is found when it
/// closes. Clones are the same owner, but in a forked child another one of the same label. Without an
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

/// The most owners that one may inherit from.
const MAX_ANCESTORS: usize = 64;

fn parse_ids(text: &str) -> Result<Vec<u64>, Error> {
    let ids: Option<Vec<u64>> = text.split('.').map(|id| u64::from_str_radix(id, 16).ok()).collect();
    ids.filter(|ids| ids.len() <= MAX_ANCESTORS).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("{OWNER_ID_VARIABLE}={text:?} is no list of at most {MAX_ANCESTORS} owner ids (hexadecimal digits, joined by dots)"),
        )
    })
}

impl Owner {
    pub(crate) fn new(manager: LockManager, label: &str) -> Result<Owner, Error> {
        manager.enter()?;
        Ok(Owner { manager, identity: Arc::new(Identity::new(label, Vec::new())?) })
    }

    /// A child of the owner that a parent process passed down in the environment, if it did.
    pub(crate) fn inherited(manager: LockManager) -> Result<Option<Owner>, Error> {
        // An empty variable is as good as none, as everywhere.
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let Some(label) = variable(OWNER_VARIABLE) else { return Ok(None) };
        manager.enter()?;
        let ancestors = variable(OWNER_ID_VARIABLE).map_or(Ok(Vec::new()), |text| parse_ids(&text))?;
        Ok(Some(Owner { manager, identity: Arc::new(Identity::new(&label, ancestors)?) }))
    }

    /// What a child process needs in its environment to inherit from this owner: names and values.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let identity = self.identity();
        identity.hand_down();
        let ids = identity.who.ancestors.iter().chain([&identity.who.id]).map(|id| format!("{id:016x}"));
        [(OWNER_VARIABLE, self.label().to_owned()), (OWNER_ID_VARIABLE, ids.collect::<Vec<_>>().join("."))]
    }

    /// The id, 16 hexadecimal digits, as status, events and errors show it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:016x}", self.identity().who.id)
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.identity.who.label
    }

    /// The same owner asking another manager, so that cycles through both are seen as one owner's.
    #[must_use]
    pub fn with(&self, manager: &LockManager) -> Owner {
        Owner { manager: manager.clone(), identity: Arc::clone(&self.identity) }
    }

    /// [`LockManager::read`], by this owner.
    pub fn read<'a>(&'a self, name: &'a str) -> Request<'a> {
        self.manager.read(name).owner(self)
    }

    /// [`LockManager::write`], by this owner.
    pub fn write<'a>(&'a self, name: &'a str) -> Request<'a> {
        self.manager.write(name).owner(self)
    }

    /// [`LockManager::lock_all`], by this owner.
    pub fn lock_all<'a>(&'a self, wanted: impl IntoIterator<Item = (&'a str, Mode)>) -> RequestAll {
        self.manager.lock_all(wanted).owner(self)
    }

    /// Who asks in this process: in a forked child another one of the same label.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        self.identity.in_this_process()
    }
}
