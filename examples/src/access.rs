//! How an agent gets at the stores: in whose name the locks are taken, and who is notified.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use concurrent_locks::{Error, Guard, GuardAll, Mode, Owner, RequestAll};

type Observer = Arc<dyn Fn(&Section<'_>) + Send + Sync>;

/// In whose name a store takes its locks.
///
/// One owner is one line of work: a task or a thread. Two tasks that share an owner re-enter each
/// other's locks and exclude nobody.
#[derive(Clone)]
pub struct Access {
    owner: Option<Owner>,
    thinking: Duration,
    observer: Option<Observer>,
}

impl Access {
    /// Every section is guarded by a lock of `owner`.
    #[must_use]
    pub fn locked(owner: Owner) -> Access {
        Access { owner: Some(owner), thinking: Duration::ZERO, observer: None }
    }

    /// Nothing is guarded: shows what the locks are for.
    #[must_use]
    pub fn unlocked() -> Access {
        Access { owner: None, thinking: Duration::ZERO, observer: None }
    }

    /// How long the agent thinks between reading a value and writing the changed one. Default: not at all.
    #[must_use]
    pub fn thinking(mut self, time: Duration) -> Access {
        self.thinking = time;
        self
    }

    /// Notifies `observer` of every section when it ends, before its locks are released.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&Section<'_>) + Send + Sync + 'static) -> Access {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Holds `resource` together with other readers.
    ///
    /// # Errors
    /// As [`concurrent_locks::Request`].
    pub async fn read(&self, resource: &str) -> Result<Held, Error> {
        self.hold(&[resource], Mode::Read).await
    }

    /// Holds `resource` alone.
    ///
    /// # Errors
    /// As [`concurrent_locks::Request`].
    pub async fn write(&self, resource: &str) -> Result<Held, Error> {
        self.hold(&[resource], Mode::Write).await
    }

    /// Holds every one of `resources` in `mode`, all or nothing.
    ///
    /// # Errors
    /// As [`concurrent_locks::RequestAll`].
    pub async fn hold(&self, resources: &[&str], mode: Mode) -> Result<Held, Error> {
        let asked = Instant::now();
        let guards = match self.request(resources, mode) {
            Some(request) => Some(request.await?),
            None => None,
        };
        Ok(self.held(resources, mode, asked, guards))
    }

    /// [`Access::hold`] for threads: parks this one while it waits.
    ///
    /// # Errors
    /// As [`concurrent_locks::RequestAll`].
    pub fn hold_blocking(&self, resources: &[&str], mode: Mode) -> Result<Held, Error> {
        let asked = Instant::now();
        let guards = self.request(resources, mode).map(RequestAll::blocking).transpose()?;
        Ok(self.held(resources, mode, asked, guards))
    }

    /// The thinking between read and write of a task.
    pub async fn think(&self) {
        if !self.thinking.is_zero() {
            tokio::time::sleep(self.thinking).await;
        }
    }

    /// The thinking between read and write of a thread.
    pub fn think_blocking(&self) {
        if !self.thinking.is_zero() {
            std::thread::sleep(self.thinking);
        }
    }

    fn request(&self, resources: &[&str], mode: Mode) -> Option<RequestAll> {
        let owner = self.owner.as_ref()?;
        Some(owner.lock_all(resources.iter().map(|resource| (*resource, mode))))
    }

    fn held(&self, resources: &[&str], mode: Mode, asked: Instant, guards: Option<GuardAll>) -> Held {
        let held_since = |resource: &str| {
            let held_for = guards.as_ref().and_then(|guards| guards.get(resource)).map(Guard::held_for);
            held_for.map_or(asked, |held_for| Instant::now() - held_for)
        };
        let locks = resources.iter().map(|name| Lock { resource: (*name).to_owned(), granted: held_since(name) });
        Held {
            locks: locks.collect(),
            mode,
            asked,
            granted: if guards.is_some() { Instant::now() } else { asked },
            guards,
            owner: self.owner.clone(),
            observer: self.observer.clone(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("owner", &self.owner).field("thinking", &self.thinking).finish_non_exhaustive()
    }
}

/// One section: what was held, and when.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Who held it; `None` without locks.
    pub owner: Option<&'a Owner>,
    /// What was held.
    pub locks: &'a [Lock],
    /// In which mode.
    pub mode: Mode,
    /// When it was asked for.
    pub asked: Instant,
    /// When all of it was held; without locks, when it was asked for.
    pub granted: Instant,
    /// When the section ended.
    pub released: Instant,
}

/// One lock of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub resource: String,
    /// When it was granted, by the clock of the locks; without locks, when it was asked for.
    pub granted: Instant,
}

/// The locks of one section, and the proof for the steps of a store that need them.
#[must_use = "the locks are released as soon as this is dropped"]
pub struct Held {
    locks: Vec<Lock>,
    mode: Mode,
    asked: Instant,
    granted: Instant,
    /// `None` without locks, and once released.
    guards: Option<GuardAll>,
    owner: Option<Owner>,
    observer: Option<Observer>,
}

impl Held {
    /// Ends the section and says whether the locks were ours until now.
    ///
    /// # Errors
    /// `Lost` if an operator broke one of them: what was just written may be mixed with the writes of another.
    pub fn release(mut self) -> Result<(), Error> {
        self.tell();
        self.guards.take().map_or(Ok(()), GuardAll::release)
    }

    /// # Panics
    /// If `resource` is not held in `mode` or stronger: a mistake in the calling code.
    pub(crate) fn assert_holds(&self, resource: &str, mode: Mode) {
        let holds = self.mode.covers(mode) && self.locks.iter().any(|lock| lock.resource == resource);
        assert!(holds, "this step needs {resource:?} to {mode}, and has {self:?}");
    }

    fn tell(&mut self) {
        if let Some(observer) = self.observer.take() {
            observer(&Section {
                owner: self.owner.as_ref(),
                locks: &self.locks,
                mode: self.mode,
                asked: self.asked,
                granted: self.granted,
                released: Instant::now(),
            });
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tell();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("locks", &self.locks).field("mode", &self.mode).finish_non_exhaustive()
    }
}
