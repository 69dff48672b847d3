//! The environment of a case: a fresh lock space and its helpers.

use std::{path::PathBuf, time::Duration};

use concurrent_locks::{LockManager, Mode, Owner, Settings, Status};
use tempfile::TempDir;

use crate::{
    case::has_capacity,
    taker::LockTaker,
    wait::{DEADLINE, until},
};

/// A lock space that nobody else uses, and the directory it lives in, if it lives in one.
#[derive(Debug)]
pub struct Space {
    /// The URL to connect to.
    pub url: String,
    /// Removed with the space.
    pub directory: Option<TempDir>,
}

/// What a case gets.
#[derive(Debug)]
pub struct Bench {
    locks: LockManager,
    taker: PathBuf,
    space: Space,
}

impl Bench {
    /// A bench in `space`; `taker` is the path of the lock-taker program.
    ///
    /// # Panics
    /// If the engine cannot be opened.
    #[must_use]
    pub fn new(space: Space, taker: PathBuf) -> Bench {
        let locks =
            LockManager::connect(&space.url).blocking().unwrap_or_else(|error| panic!("{}: {error}", space.url));
        Bench { locks: locks.with_settings(patient()), taker, space }
    }

    /// The locks of the space. They wait for [`DEADLINE`], so that a broken promise ends as a
    /// time-out and not as a hang.
    #[must_use]
    pub fn locks(&self) -> &LockManager {
        &self.locks
    }

    /// The same locks with other settings.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(Settings) -> Settings) -> LockManager {
        self.locks.clone().with_settings(change(patient()))
    }

    /// Locks with room for so many resources, each of them held: those of the space if its room has no
    /// end, else those of another one.
    #[must_use]
    pub fn with_room(&self, resources: usize) -> LockManager {
        if !has_capacity(&self.locks) {
            return self.locks.clone();
        }
        self.with_capacity(&format!("resources={resources}&requests={resources}"))
    }

    /// Locks of another space of the same kind, with the capacity of `query` (`resources=64`). A case
    /// that calls this needs [`Need::Capacity`](crate::Need).
    ///
    /// # Panics
    /// If the engine cannot be opened.
    #[must_use]
    pub fn with_capacity(&self, query: &str) -> LockManager {
        let locks = LockManager::connect(&self.url_with_capacity(query)).blocking();
        locks.unwrap_or_else(|error| panic!("{query}: {error}")).with_settings(patient())
    }

    /// The URL of [`Bench::with_capacity`].
    ///
    /// # Panics
    /// If the URL of the space has a query: then it does not end with the space.
    #[must_use]
    pub fn url_with_capacity(&self, query: &str) -> String {
        let url = self.url();
        assert!(!url.contains('?'), "{url} has no room for a capacity");
        format!("{url}-sized?{query}")
    }

    /// The URL of the space.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.space.url
    }

    /// A new owner.
    ///
    /// # Panics
    /// If the label is refused.
    #[must_use]
    pub fn owner(&self, label: &str) -> Owner {
        self.locks.owner(label).expect("a good label")
    }

    /// Another process that takes locks in this space.
    #[must_use]
    pub fn taker(&self) -> LockTaker {
        self.taker_with(Some(self.url()), &[])
    }

    /// Another process that is `owner`, by inheritance.
    #[must_use]
    pub fn taker_of(&self, owner: &Owner) -> LockTaker {
        self.taker_with(Some(self.url()), &owner.environment())
    }

    /// Another process with these variables in its environment; without a URL it uses the
    /// process-wide default.
    #[must_use]
    pub fn taker_with(&self, url: Option<&str>, environment: &[(&str, String)]) -> LockTaker {
        LockTaker::start(&self.taker, url, environment)
    }

    /// What is seen of `name`.
    ///
    /// # Panics
    /// If the engine does not know it.
    #[track_caller]
    #[must_use]
    pub fn status(&self, name: &str) -> Status {
        self.locks.status(name).blocking().expect("status").unwrap_or_else(|| panic!("{name} is unknown"))
    }

    /// Waits until `count` requests are seen waiting for `name`.
    #[track_caller]
    pub fn until_waiting(&self, name: &str, count: usize) {
        until(&format!("{count} waiters for {name}"), || self.waiters(name) == count);
    }

    /// How many requests wait for `name`.
    #[must_use]
    pub fn waiters(&self, name: &str) -> usize {
        self.locks.status(name).blocking().expect("status").map_or(0, |status| status.waiters.len())
    }

    /// Fails unless nobody holds `name` or waits for it, and it can be had.
    ///
    /// # Panics
    /// If it is not free.
    #[track_caller]
    pub fn assert_free(&self, name: &str) {
        let seen = || self.locks.status(name).blocking().expect("status");
        // A server receives the release of another process's future a moment later, and serves what the
        // dead had sent, behind a pool even after their end was seen; a leak stays as long as its process lives.
        if self.locks.capabilities().lease {
            let idle = |status: &Status| status.holders.is_empty() && status.waiters.is_empty();
            return until(&format!("{name} is free"), || {
                seen().as_ref().is_none_or(idle) && self.locks.write(name).try_now().is_ok()
            });
        }
        if self.locks.capabilities().inspect
            && let Some(status) = seen()
        {
            assert!(status.holders.is_empty(), "still held: {:?}", status.holders);
            assert!(status.waiters.is_empty(), "still waited for: {:?}", status.waiters);
        }
        let request = self.locks.write(name);
        // Where the kernel decides between processes, a thread of a request that gave up may have the
        // lock for a moment yet.
        let free =
            if self.locks.capabilities().fair { request.try_now() } else { request.timeout(DEADLINE).blocking() };
        drop(free.expect("a free lock"));
    }

    /// Fails unless somebody holds `name` so that `mode` cannot be had now.
    ///
    /// # Panics
    /// If it can be had.
    #[track_caller]
    pub fn assert_busy(&self, name: &str, mode: Mode) {
        let error = self.locks.request(name, mode).try_now().expect_err("a busy lock");
        assert_eq!(error.kind(), concurrent_locks::ErrorKind::WouldBlock, "{error}");
    }
}

fn patient() -> Settings {
    Settings::default()
        .read_timeout(DEADLINE)
        .write_timeout(DEADLINE)
        // A wait of a case that fails must not be taken for a suspect by one that looks for suspects.
        .suspect_after(DEADLINE + Duration::from_secs(1))
}
