//! Owners: the identity behind requests. The unit of attribution, re-entry and deadlock detection.

use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{
    error::{Error, ErrorKind},
    fork_generation::ForkGeneration,
    holdings::Holdings,
    manager::LockManager,
    mode::Mode,
    request::Request,
    request_all::RequestAll,
};

/// The longest owner label in bytes.
pub const MAX_LABEL_BYTES: usize = 40;

/// The environment variable that carries an owner's label to child processes.
pub const OWNER_VARIABLE: &str = "LOCKS_OWNER";

/// The environment variable that carries an owner's id (16 hexadecimal digits) to child processes, after
/// those of the owners it inherited from, joined by dots.
pub const OWNER_ID_VARIABLE: &str = "LOCKS_OWNER_ID";

thread_local! {
    /// The id drawn last, and the process that drew it.
    static LAST_ANONYMOUS: Cell<Option<(ForkGeneration, u64)>> = const { Cell::new(None) };
}

/// 64 bits from the operating system's generator. Not from std's hasher keys: a forked child continues with
/// its parent's.
///
/// # Panics
/// If the system has no random numbers: ids that two processes share would let both in.
#[cold]
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|error| panic!("the system has no random numbers: {error}"))
}

/// An id for a request without an owner.
///
/// Ids count up from a random start per thread, so they collide with no other thread's or process's id (two
/// of a million running counters collide with a chance of about 2^-24 per 10^6 ids each), and no shared
/// counter slows threads down. A forked child draws again: it must not repeat its parent's ids, nor those
/// of another child.
#[inline]
pub(crate) fn anonymous() -> u64 {
    let process = ForkGeneration::current();
    LAST_ANONYMOUS.with(|last| {
        let start = last.get().filter(|(drawn_by, _)| *drawn_by == process).map_or_else(random, |(_, id)| id);
        let id = start.wrapping_add(1);
        last.set(Some((process, id)));
        id | 1 << 63
    })
}

/// A label for display: owners without one are named after their process.
pub(crate) fn label_text(label: String, pid: u32) -> String {
    if label.is_empty() { format!("pid {pid}") } else { label }
}

/// A labelled owner, as shared by all of its handles and guards.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    pub(crate) label: String,
    /// The owners this one inherits from, the outermost first. They wait for this process to end, so their
    /// grants are re-entered; those of their other children are not.
    pub(crate) ancestors: Vec<u64>,
    pub(crate) holdings: Holdings,
    /// The process that owns it.
    process: ForkGeneration,
    /// Its replacement in a forked child: two processes that share an owner would both enter.
    in_child: OnceLock<Arc<Identity>>,
    /// Other processes may have it from the environment: what they hold in its name is not among the
    /// holdings.
    handed_down: AtomicBool,
}

impl Identity {
    fn new(label: &str, ancestors: Vec<u64>) -> Result<Identity, Error> {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || label.contains('\0') {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the owner label {label:?} must have 1 to {MAX_LABEL_BYTES} bytes and no NUL"),
            ));
        }
        Ok(Self::drawn(label.to_owned(), ancestors))
    }

    fn drawn(label: String, ancestors: Vec<u64>) -> Identity {
        Identity {
            id: anonymous() & !(1 << 63),
            label,
            ancestors,
            holdings: Holdings::default(),
            handed_down: AtomicBool::new(false),
            process: ForkGeneration::current(),
            in_child: OnceLock::new(),
        }
    }

    /// Whether a wait of this owner could close a cycle, or a request of it re-enter.
    pub(crate) fn may_hold(&self) -> bool {
        !self.ancestors.is_empty() || self.holdings.any() || self.handed_down.load(Relaxed)
    }
}

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

    /// The environment variables with which a child process inherits from this owner: names and values.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let identity = self.identity();
        identity.handed_down.store(true, Relaxed);
        let ids = identity.ancestors.iter().chain([&identity.id]).map(|id| format!("{id:016x}"));
        [(OWNER_VARIABLE, self.label().to_owned()), (OWNER_ID_VARIABLE, ids.collect::<Vec<_>>().join("."))]
    }

    /// The id, 16 hexadecimal digits, as in status, events and errors.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:016x}", self.identity().id)
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.identity.label
    }

    /// The same owner with another manager, so that cycles through both count as one owner's.
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

    /// The owner in this process: in a forked child another one with the same label.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        let process = ForkGeneration::current();
        let mut identity = &self.identity;
        while identity.process != process {
            identity = match identity.in_child.get() {
                Some(own) => own,
                None => {
                    let own = Arc::new(Identity::drawn(identity.label.clone(), identity.ancestors.clone()));
                    identity.in_child.get_or_init(|| own)
                }
            };
        }
        identity
    }
}
