//! [`LockManager`]: the entry point. Finds the engine that a URL names and makes requests for it.

use std::fmt;

use once_cell::race::OnceBox;

use crate::{
    api::{call::Call, owner::Owner, request::Request, request_all::RequestAll, resource::Resource},
    engine::{Capabilities, Engine},
    open::{observe, open, url},
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
        settings::Settings,
        variables::URL_VARIABLE,
    },
};

/// Named read/write locks with the reach of one engine.
///
/// Cheap to clone. Managers of one URL share their engine: they see the same locks. An engine, once opened,
/// lives until the process ends, so guards carry no reference count.
#[derive(Clone)]
pub struct LockManager {
    engine: &'static dyn Engine,
    settings: Settings,
}

impl LockManager {
    /// The locks of this process (`local:`).
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// let locks = LockManager::local();
    /// let _guard = locks.write("doc:local").blocking()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the system refuses the address space for the table (about 140 MiB reserved, not used).
    #[must_use]
    pub fn local() -> LockManager {
        Self::open("local:").unwrap_or_else(|error| panic!("no memory for the local lock table: {error}"))
    }

    /// The locks of all processes of this user on this machine (`host:`), in the space named by
    /// `LOCKS_SPACE`, else `default`.
    ///
    /// ```no_run
    /// # use concurrent_locks::LockManager;
    /// let locks = LockManager::host()?;
    /// let _guard = locks.write("browser:profile-1").blocking()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Permission` or `Unreachable` if the shared table cannot be opened, `Full` if it has no room for
    /// another process, `Unsupported` on systems other than Linux.
    pub fn host() -> Result<LockManager, Error> {
        Self::open("host:")
    }

    /// The locks that a URL names: `local:`, `local:SPACE`, `host:`, `host:SPACE`, `host:/path/to/table`,
    /// `file:DIR`, `redis://HOST`, `postgres://HOST`. A new table takes its capacity from
    /// `?resources=N&requests=N&processes=N` in the URL (default 131,072, 131,072 and 1,024);
    /// `host:/path/to/table?share=group` is a table for a group of users; a server's URL takes
    /// `?space=SPACE&lease=10s` and more (`docs/engines/`). Connecting to a server blocks, for some seconds
    /// at most.
    ///
    /// ```no_run
    /// # use concurrent_locks::LockManager;
    /// let own = LockManager::connect("local:agents").blocking()?;
    /// let everybodys = LockManager::connect("redis://locks.example/?lease=10s").blocking()?; // in a task: `.await?`
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the URL is none of these; else as [`LockManager::host`].
    pub fn connect(url: &str) -> Call<LockManager> {
        let url = url.to_owned();
        Call::new(move || Self::open(&url))
    }

    fn open(url: &str) -> Result<LockManager, Error> {
        Ok(LockManager { engine: open(url::parse(url)?)?, settings: Settings::default() })
    }

    /// The same locks for inspection only: status, statistics, deadlocks, events, health. Creates no
    /// folder, file or schema, takes no slot in a table, waits for no lock and cleans nothing up, so it
    /// works where a table is full, stuck or read-only; [`LockManager::unseen`] reports what it could not
    /// read. Requests for a lock fail with `Unsupported`. Locks that nobody has used yet are not an error:
    /// they are [absent](LockManager::absence). Root may inspect another user's table.
    ///
    /// ```no_run
    /// # use concurrent_locks::LockManager;
    /// let locks = LockManager::observe("host:").blocking()?;
    /// for (name, status) in locks.status_all().blocking()? {
    ///     println!("{name}: {} hold it, {} wait", status.holders.len(), status.waiters.len());
    /// }
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LockManager::connect`].
    pub fn observe(url: &str) -> Call<LockManager> {
        let url = url.to_owned();
        Call::new(move || Ok(LockManager { engine: observe(url::parse(&url)?)?, settings: Settings::default() }))
    }

    /// The process-wide default manager: that of `CONCURRENT_LOCKS_URL`, else `local:`.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// let _guard = LockManager::global()?.write("doc:global").blocking()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LockManager::connect`], the same error on every call.
    pub fn global() -> Result<&'static LockManager, Error> {
        static GLOBAL: OnceBox<Result<LockManager, Error>> = OnceBox::new();
        let open = || match std::env::var(URL_VARIABLE) {
            Ok(url) => Self::open(&url),
            Err(std::env::VarError::NotPresent) => Self::open("local:"),
            Err(error) => Err(Error::new(ErrorKind::InvalidInput, format!("{URL_VARIABLE}: {error}"))),
        };
        GLOBAL.get_or_init(|| Box::new(open())).as_ref().map_err(Clone::clone)
    }

    #[cfg(test)]
    pub(crate) fn on(engine: &'static dyn Engine) -> LockManager {
        LockManager { engine, settings: Settings::default() }
    }

    #[inline]
    pub(crate) fn engine(&self) -> &'static dyn Engine {
        self.engine
    }

    /// See [`Engine::enter`].
    pub(crate) fn enter(&self) -> Result<(), Error> {
        self.engine.enter()
    }

    /// The same locks with other defaults.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-with-settings").blocking()?;
    /// let patient = locks.clone().with_settings(locks.settings().read_timeout(None).write_timeout(None));
    /// assert_eq!(patient.settings().read_timeout, None);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> LockManager {
        self.settings = settings;
        self
    }

    /// The defaults of this manager's requests.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-settings").blocking()?;
    /// assert_eq!(locks.settings().read_timeout, Some(std::time::Duration::from_secs(10)));
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The engine's URL.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-url").blocking()?;
    /// assert_eq!(locks.url(), "local:doc-url");
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn url(&self) -> &str {
        self.engine.url()
    }

    /// What the engine can do.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-capabilities").blocking()?;
    /// assert!(locks.capabilities().fair && !locks.capabilities().across_processes);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    /// A request to hold `name` together with other readers. See [`Request`].
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-read").blocking()?;
    /// let _together = (locks.read("skills").blocking()?, locks.read("skills").blocking()?);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[inline]
    pub fn read<'a>(&self, name: &'a str) -> Request<'a> {
        self.request(name, Mode::Read)
    }

    /// A request to hold `name` alone. See [`Request`].
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-write").blocking()?;
    /// let _alone = locks.write("skills").blocking()?;
    /// assert!(locks.read("skills").try_now().is_err());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[inline]
    pub fn write<'a>(&self, name: &'a str) -> Request<'a> {
        self.request(name, Mode::Write)
    }

    /// A request to hold `name` in `mode`.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-request").blocking()?;
    /// assert_eq!(locks.request("skills", Mode::Write).blocking()?.mode(), Mode::Write);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[inline]
    pub fn request<'a>(&self, name: &'a str, mode: Mode) -> Request<'a> {
        Request::new(self.engine, &self.settings, name, mode)
    }

    /// A request for several resources, all or nothing. See [`RequestAll`].
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-lock-all").blocking()?;
    /// let both = locks.lock_all([("a", Mode::Read), ("b", Mode::Write)]).blocking()?;
    /// assert_eq!(both.len(), 2);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn lock_all<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, Mode)>) -> RequestAll {
        RequestAll::new(self.engine, &self.settings, wanted)
    }

    /// A handle that caches where `name` is, for hot paths.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-resource").blocking()?;
    /// let skills = locks.resource("skills")?;
    /// let _guard = skills.read().blocking()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidName`.
    pub fn resource(&self, name: &str) -> Result<Resource, Error> {
        Resource::new(self.engine, self.settings, name)
    }

    /// A new owner with this label (1 to 40 bytes). See [`Owner`].
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-owner").blocking()?;
    /// let agent = locks.owner("agent-7")?;
    /// let _guard = agent.write("skills").blocking()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the label is empty, too long or contains NUL.
    pub fn owner(&self, label: &str) -> Result<Owner, Error> {
        Owner::new(self.clone(), label)
    }

    /// An owner that inherits from the one that the parent process passed down (`LOCKS_OWNER`,
    /// `LOCKS_OWNER_ID`), if any: this process re-enters what the parent holds under it, but not what other
    /// children of the parent hold. The parent is assumed to wait for this process to end.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-inherited-owner").blocking()?;
    /// let agent = match locks.inherited_owner()? {
    ///     Some(agent) => agent,
    ///     None => locks.owner("agent-7")?,
    /// };
    /// # drop(agent);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the variables are malformed.
    pub fn inherited_owner(&self) -> Result<Option<Owner>, Error> {
        Owner::inherited(self.clone())
    }

    /// Announces that this process is about to end, so that nobody has to detect it. A process that ends by
    /// `exit` or by returning from `main` does this automatically; call it in a process that ends by
    /// `_exit` or the like, or to learn whether the announcement succeeded.
    ///
    /// With `host:`, nothing changes if this process holds or waits for something: its locks are freed when
    /// it has really ended. With a server (`redis://`, `postgres://`) it waits, for at most a second, until
    /// the server has confirmed every release, and releases what is still held.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-detach").blocking()?;
    /// drop(locks.write("skills").blocking()?);
    /// locks.detach()?;
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unreachable` if the server did not answer: its locks stay held until their lease expires.
    pub fn detach(&self) -> Result<(), Error> {
        self.engine.detach()
    }
}

impl fmt::Debug for LockManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManager").field("url", &self.url()).field("settings", &self.settings).finish()
    }
}
