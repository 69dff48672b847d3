//! [`LockManager`]: the front door. Finds the engine a URL names and makes requests for it.

use std::{fmt, sync::OnceLock, time::Duration};

use crate::{
    api::{owner::Owner, request::Request, request_all::RequestAll, resource::Resource},
    engine::{Capabilities, Engine},
    open::{observe, open, url},
    words::{
        deadlock::DeadlockReport,
        error::{Error, ErrorKind},
        event::Event,
        mode::Mode,
        name::Name,
        settings::Settings,
        stats::{Statistics, StatisticsMap},
        status::{Health, Holder, Status, StatusMap},
        variables::URL_VARIABLE,
    },
};

/// Named read/write locks with the reach of one engine.
///
/// Cheap to clone. Managers of one URL share their engine: they see the same locks. An engine, once
/// opened, lives until the process ends, so guards carry no reference count.
#[derive(Clone)]
pub struct LockManager {
    engine: &'static dyn Engine,
    settings: Settings,
}

impl LockManager {
    /// The locks of this process (`local:`).
    ///
    /// # Panics
    /// If the system refuses the address space for the table (about 140 MiB reserved, not used).
    #[must_use]
    pub fn local() -> LockManager {
        Self::connect("local:").unwrap_or_else(|error| panic!("no memory for the local lock table: {error}"))
    }

    /// The locks of every process of this user on this machine (`host:`), in the space named by
    /// `LOCKS_SPACE`, else `default`.
    ///
    /// # Errors
    /// `Permission` or `Unreachable` if the shared table cannot be opened, `Full` if it has no room
    /// for one more process, `Unsupported` on systems other than Linux.
    pub fn host() -> Result<LockManager, Error> {
        Self::connect("host:")
    }

    /// The locks a URL names: `local:`, `local:SPACE`, `host:`, `host:SPACE`, `host:/path/to/table`,
    /// `file:DIR`, `redis://HOST`, `postgres://HOST`. A table that has yet to be made takes its
    /// capacity from `?resources=N&requests=N&processes=N` behind the URL (default 131,072, 131,072 and
    /// 1,024); `host:/path/to/table?share=group` is a table for a group of users; a server's URL takes `?space=SPACE&lease=10s` and more (`docs/engines/`). Connecting to a
    /// server waits for it, for some seconds at most.
    ///
    /// # Errors
    /// `InvalidInput` if the URL is none of these; else as [`LockManager::host`].
    pub fn connect(url: &str) -> Result<LockManager, Error> {
        Ok(LockManager { engine: open(url::parse(url)?)?, settings: Settings::default() })
    }

    /// The same locks, only to look at them: status, statistics, deadlocks, events, health. Makes no folder,
    /// file or schema, takes no room in a table, waits for nobody's lock and cleans nothing up, so it works where
    /// a table is full, stands still or cannot be written; what it could not see, [`LockManager::unseen`] says.
    /// Asking for a lock is `Unsupported`. Locks that nobody has used yet are no error: they are
    /// [absent](LockManager::absence). Root may look at another user's table.
    ///
    /// # Errors
    /// As [`LockManager::connect`].
    pub fn observe(url: &str) -> Result<LockManager, Error> {
        Ok(LockManager { engine: observe(url::parse(url)?)?, settings: Settings::default() })
    }

    /// The process-wide default manager: of `CONCURRENT_LOCKS_URL`, else `local:`.
    ///
    /// # Errors
    /// As [`LockManager::connect`], the same error on every call.
    pub fn global() -> Result<&'static LockManager, Error> {
        static GLOBAL: OnceLock<Result<LockManager, Error>> = OnceLock::new();
        GLOBAL
            .get_or_init(|| match std::env::var(URL_VARIABLE) {
                Ok(url) => Self::connect(&url),
                Err(std::env::VarError::NotPresent) => Self::connect("local:"),
                Err(error) => Err(Error::new(ErrorKind::InvalidInput, format!("{URL_VARIABLE}: {error}"))),
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    #[cfg(test)]
    pub(crate) fn on(engine: &'static dyn Engine) -> LockManager {
        LockManager { engine, settings: Settings::default() }
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &'static dyn Engine {
        self.engine
    }

    /// See [`Engine::enter`].
    pub(crate) fn enter(&self) -> Result<(), Error> {
        self.engine.enter()
    }

    /// The same locks with other defaults.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> LockManager {
        self.settings = settings;
        self
    }

    /// The defaults of this manager's requests.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The engine's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.engine.url()
    }

    /// What the engine can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    /// A request to hold `name` together with other readers. See [`Request`].
    #[inline]
    pub fn read<'a>(&self, name: &'a str) -> Request<'a> {
        self.request(name, Mode::Read)
    }

    /// A request to hold `name` alone. See [`Request`].
    #[inline]
    pub fn write<'a>(&self, name: &'a str) -> Request<'a> {
        self.request(name, Mode::Write)
    }

    /// A request to hold `name` in `mode`.
    #[inline]
    pub fn request<'a>(&self, name: &'a str, mode: Mode) -> Request<'a> {
        Request::new(self.engine, &self.settings, name, mode)
    }

    /// A request for several resources, all or nothing. See [`RequestAll`].
    pub fn lock_all<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, Mode)>) -> RequestAll {
        RequestAll::new(self.engine, &self.settings, wanted)
    }

    /// A handle that remembers where `name` is, for hot paths.
    ///
    /// # Errors
    /// `InvalidName`.
    pub fn resource(&self, name: &str) -> Result<Resource, Error> {
        Resource::new(self.engine, self.settings, name)
    }

    /// A new owner with this label (1 to 40 bytes). See [`Owner`].
    ///
    /// # Errors
    /// `InvalidInput` if the label is empty, too long or contains NUL.
    pub fn owner(&self, label: &str) -> Result<Owner, Error> {
        Owner::new(self.clone(), label)
    }

    /// An owner that inherits from the one the parent process passed down (`LOCKS_OWNER`,
    /// `LOCKS_OWNER_ID`), if it did: what the parent holds under it, this process re-enters; what other
    /// children of the parent hold, it does not. The parent is taken to wait for this process to end.
    ///
    /// # Errors
    /// `InvalidInput` if the variables are malformed.
    pub fn inherited_owner(&self) -> Result<Option<Owner>, Error> {
        Owner::inherited(self.clone())
    }

    /// Holders and waiters of one resource; `None` if it is unknown.
    ///
    /// # Errors
    /// `InvalidName`; `Corrupt` or `Unreachable` if the engine is broken.
    pub fn status(&self, name: &str) -> Result<Option<Status>, Error> {
        let name = Name::new(name)?;
        Ok(self.engine.status(Some(name))?.remove(name.text()))
    }

    /// Holders and waiters of every known resource.
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken.
    pub fn status_all(&self) -> Result<StatusMap, Error> {
        self.engine.status(None)
    }

    /// Statistics of one resource by mode; empty if it is unknown.
    ///
    /// # Errors
    /// `InvalidName`; `Corrupt` or `Unreachable` if the engine is broken.
    pub fn statistics(&self, name: &str) -> Result<std::collections::BTreeMap<Mode, Statistics>, Error> {
        let name = Name::new(name)?;
        Ok(self.engine.statistics(Some(name))?.remove(name.text()).unwrap_or_default())
    }

    /// Statistics of every known resource.
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken.
    pub fn statistics_all(&self) -> Result<StatisticsMap, Error> {
        self.engine.statistics(None)
    }

    /// Forgets the counters of one resource, or of all.
    ///
    /// # Errors
    /// `InvalidName`; `Corrupt` or `Unreachable` if the engine is broken.
    pub fn reset_statistics(&self, name: Option<&str>) -> Result<(), Error> {
        let name = name.map(Name::new).transpose()?;
        self.engine.reset_statistics(name)
    }

    /// Cycles that stand now, waits that last too long, and orders that contradict each other.
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken.
    pub fn deadlocks(&self) -> Result<DeadlockReport, Error> {
        self.engine.deadlocks(self.settings.suspect_after)
    }

    /// Events from `cursor` on (`None`: from now on), waiting at most `wait` for the first;
    /// returns them with the next cursor. While somebody reads events, every operation is
    /// recorded; else only waits, time-outs, deadlocks and recoveries are.
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken, `Unsupported` if it has no events.
    pub fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        self.engine.events(cursor, wait)
    }

    /// Takes `name` from the holder with this fencing token and hands it to the next waiter. The
    /// holder is not stopped: it learns of its loss when it releases. Only for an operator who
    /// knows that the holder will do no harm, or for resources that check tokens.
    ///
    /// # Errors
    /// `InvalidInput` if nobody holds `name` with that token, `Unsupported` if the engine cannot.
    pub fn break_lock(&self, name: &str, token: u64) -> Result<Holder, Error> {
        self.engine.revoke(Name::new(name)?, token)
    }

    /// Says that this process is about to end, so that nobody has to find out. A process that ends by `exit` or
    /// by returning from `main` does this by itself; it is for one that ends by `_exit` or the like, and for who
    /// wants to know whether it was heard.
    ///
    /// With `host:`, nothing changes if this process holds or waits for something: its locks are freed when it is
    /// really gone. With a server (`redis://`, `postgres://`) it waits, for a second at most, until the server has
    /// heard of every lock that was given back, and gives back what is still held.
    ///
    /// # Errors
    /// `Unreachable` if the server did not answer: its locks stay held until their lease ends.
    pub fn detach(&self) -> Result<(), Error> {
        self.engine.detach()
    }

    /// What the last look (status, statistics, deadlocks, events, health) could not see, or may have seen out of
    /// date, and why. Empty when it saw everything.
    #[must_use]
    pub fn unseen(&self) -> Vec<String> {
        self.engine.unseen()
    }

    /// Of locks that are only [observed](LockManager::observe): that nobody has used them yet, and where they
    /// would be.
    #[must_use]
    pub fn absence(&self) -> Option<String> {
        self.engine.absence()
    }

    /// The state of the engine itself: capacity, permissions, dead processes, problems.
    ///
    /// # Errors
    /// `Unreachable` if the engine cannot be looked at.
    pub fn health(&self) -> Result<Health, Error> {
        self.engine.health()
    }
}

impl fmt::Debug for LockManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManager").field("url", &self.url()).field("settings", &self.settings).finish()
    }
}
