//! What a [`LockManager`] shows of its locks, and what an operator orders: all awaitable or `.blocking()`.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    api::{call::Call, events::Events, manager::LockManager},
    words::{
        deadlock::DeadlockReport,
        event::Event,
        mode::Mode,
        name::Name,
        stats::{Statistics, StatisticsMap},
        status::{Health, Holder, Status, StatusMap},
    },
};

impl LockManager {
    /// Holders and waiters of one resource; `None` if it is unknown.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-status").blocking()?;
    /// let _guard = locks.write("skills").blocking()?;
    /// let status = locks.status("skills").blocking()?.unwrap();
    /// assert_eq!(status.holders.len(), 1);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidName`; `Corrupt` or `Unreachable` if the engine is broken.
    pub fn status(&self, name: &str) -> Call<Option<Status>> {
        let (engine, name) = (self.engine(), name.to_owned());
        Call::new(move || Ok(engine.status(Some(Name::new(&name)?))?.remove(&name)))
    }

    /// Holders and waiters of every known resource.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-status-all").blocking()?;
    /// let _guard = locks.write("skills").blocking()?;
    /// assert!(locks.status_all().blocking()?["skills"].writer_active);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken.
    pub fn status_all(&self) -> Call<StatusMap> {
        let engine = self.engine();
        Call::new(move || engine.status(None))
    }

    /// Statistics of one resource by mode; empty if it is unknown.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-statistics").blocking()?;
    /// drop(locks.write("skills").blocking()?);
    /// assert_eq!(locks.statistics("skills").blocking()?[&Mode::Write].total_acquisitions, 1);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidName`; `Corrupt` or `Unreachable` if the engine is broken.
    pub fn statistics(&self, name: &str) -> Call<BTreeMap<Mode, Statistics>> {
        let (engine, name) = (self.engine(), name.to_owned());
        Call::new(move || Ok(engine.statistics(Some(Name::new(&name)?))?.remove(&name).unwrap_or_default()))
    }

    /// Statistics of every known resource.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-statistics-all").blocking()?;
    /// drop(locks.read("skills").blocking()?);
    /// assert!(locks.statistics_all().blocking()?.contains_key("skills"));
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken.
    pub fn statistics_all(&self) -> Call<StatisticsMap> {
        let engine = self.engine();
        Call::new(move || engine.statistics(None))
    }

    /// Forgets the counters of one resource, or of all.
    ///
    /// ```
    /// # use concurrent_locks::{LockManager, Mode};
    /// # let locks = LockManager::connect("local:doc-reset-statistics").blocking()?;
    /// drop(locks.write("skills").blocking()?);
    /// locks.reset_statistics(Some("skills")).blocking()?;
    /// let statistics = locks.statistics("skills").blocking()?;
    /// assert_eq!(statistics.get(&Mode::Write).map_or(0, |write| write.total_acquisitions), 0);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidName`; `Corrupt` or `Unreachable` if the engine is broken.
    pub fn reset_statistics(&self, name: Option<&str>) -> Call<()> {
        let (engine, name) = (self.engine(), name.map(str::to_owned));
        Call::new(move || engine.reset_statistics(name.as_deref().map(Name::new).transpose()?))
    }

    /// Cycles that stand now, waits that last too long, and orders that contradict each other.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-deadlocks").blocking()?;
    /// assert!(locks.deadlocks().blocking()?.cycles.is_empty());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken.
    pub fn deadlocks(&self) -> Call<DeadlockReport> {
        let (engine, suspect_after) = (self.engine(), self.settings().suspect_after);
        Call::new(move || engine.deadlocks(suspect_after))
    }

    /// Events from `cursor` on (`None`: from now on), waiting at most `wait` for the first;
    /// returns them with the next cursor. While somebody reads events, every operation is
    /// recorded; else only waits, time-outs, deadlocks and recoveries are.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-events").blocking()?;
    /// # use std::time::Duration;
    /// let (_, cursor) = locks.events(None, Duration::ZERO).blocking()?;
    /// drop(locks.write("skills").blocking()?);
    /// let (events, _) = locks.events(Some(cursor), Duration::from_secs(1)).blocking()?;
    /// assert_eq!(events[0].resource, "skills");
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corrupt` or `Unreachable` if the engine is broken, `Unsupported` if it has no events.
    pub fn events(&self, cursor: Option<u64>, wait: Duration) -> Call<(Vec<Event>, u64)> {
        let engine = self.engine();
        Call::new(move || engine.events(cursor, wait))
    }

    /// Events from now on, one after the other. See [`Events`].
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
    /// # let locks = LockManager::connect("local:doc-watch-2").await?;
    /// let mut events = locks.watch().await?;
    /// drop(locks.write("skills").await?);
    /// assert_eq!(events.next().await?.resource, "skills");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`LockManager::events`].
    pub fn watch(&self) -> Call<Events> {
        let engine = self.engine();
        Call::new(move || Events::of(engine))
    }

    /// Takes `name` from the holder with this fencing token and hands it to the next waiter. The
    /// holder is not stopped: it learns of its loss when it releases. Only for an operator who
    /// knows that the holder will do no harm, or for resources that check tokens.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-break-lock").blocking()?;
    /// let lost = locks.write("skills").blocking()?;
    /// let holder = locks.break_lock("skills", lost.token()).blocking()?;
    /// assert_eq!(holder.pid, std::process::id());
    /// assert!(lost.release().is_err());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if nobody holds `name` with that token, `Unsupported` if the engine cannot.
    pub fn break_lock(&self, name: &str, token: u64) -> Call<Holder> {
        let (engine, name) = (self.engine(), name.to_owned());
        Call::new(move || engine.revoke(Name::new(&name)?, token))
    }

    /// What the last look (status, statistics, deadlocks, events, health) could not see, or may have seen out of
    /// date, and why. Empty when it saw everything.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-unseen").blocking()?;
    /// locks.status_all().blocking()?;
    /// assert!(locks.unseen().is_empty());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn unseen(&self) -> Vec<String> {
        self.engine().unseen()
    }

    /// Of locks that are only [observed](LockManager::observe): that nobody has used them yet, and where they
    /// would be.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// let locks = LockManager::observe("host:/tmp/nobody/has/used.table").blocking()?;
    /// assert!(locks.absence().is_some());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    #[must_use]
    pub fn absence(&self) -> Option<String> {
        self.engine().absence()
    }

    /// The state of the engine itself: capacity, permissions, dead processes, problems.
    ///
    /// ```
    /// # use concurrent_locks::LockManager;
    /// # let locks = LockManager::connect("local:doc-health").blocking()?;
    /// assert!(locks.health().blocking()?.problems.is_empty());
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unreachable` if the engine cannot be looked at.
    pub fn health(&self) -> Call<Health> {
        let engine = self.engine();
        Call::new(move || engine.health())
    }
}
