//! The table engine: `local:` over private memory, `host:` over a shared file, one implementation for both.
//!
//! The design is that of a table of *records*, one per holder or waiter, each with one word that
//! commits every transition by a single store. Everything else (queues, counts) is derived and can
//! be rebuilt after any crash. Read in this order:
//!
//! | file | rule |
//! |---|---|
//! | `layout`, `geometry`, `word` | places and sizes, authoritative and derived state (T1 to T4) |
//! | `memory`, `pages`, `kernel`, `clock`, `atomic_word` | memory, system calls, time, the seam for models |
//! | `header`, `file`, `attach`, `detach` | a table's identity, opening (F), attaching (A), leaving (D) |
//! | `liveness`, `occupancy` | which processes are alive (L), the occupants of slots (O) |
//! | `tree` | locks that outlive their process for those it started (TR) |
//! | `file_system`, `sharing` | unsuitable file systems, the ownership of a table |
//! | `elsewhere` | a table that differs from the others' (X) |
//! | `in_place` | the file is deleted, replaced, or no longer visible (I) |
//! | `short_lock`, `locked` | the lock over a bucket that survives its owner (S) |
//! | `records`, `resources`, `queue` | taking records, finding names, the queue (Q) |
//! | `verbs`, `straight`, `handoff` | acquire, release, give up, downgrade, break; the same without detours (SL); hand-off |
//! | `deferred` | what a stopped process stood in the way of |
//! | `wait_word`, `ahead`, `park`, `hub` | waiting: the word (W), whom to watch (B), by thread (P), by future (H) |
//! | `pass_over` | hand-offs that are not acknowledged (K) |
//! | `recover` | rebuilding, and cleaning up after dead processes (R) |
//! | `graph` | deadlocks (G) |
//! | `history`, `events` | the history (E) |
//! | `look`, `view`, `statistics`, `health` | inspection (V) |
//! | `observe` | inspection without taking part |
//!
//! `file`, `kernel`, `liveness`, `pages` and `tree` are for Linux. On other systems, and under `--cfg
//! concurrent_locks_portable` for testing that on Linux, those in `portable/` replace them: `local:` by the
//! standard library alone, and no `host:`.
#![cfg_attr(
    any(not(target_os = "linux"), concurrent_locks_portable),
    allow(dead_code, reason = "what only `host:` uses")
)]

mod bucket;
mod inspect;
mod machine;
mod map;
mod past;
mod place;
mod process;
mod protocol;
#[cfg(all(test, not(loom)))]
mod tests;
mod verbs;
mod wait;

use std::{
    num::NonZeroU64,
    path::Path,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::Ordering::{Acquire, Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

#[cfg(all(test, not(loom)))]
pub(crate) use self::machine::clock::advance_clock;
use self::{
    inspect::observe::Inspection,
    machine::clock::{Clock, OnTheWall},
    map::{
        header,
        layout::{self, Layout, Violation},
        memory::Mapping,
        word::{self, record_of},
    },
    place::{
        file::{self, TableFile},
        whereabouts::Whereabouts,
    },
    process::{attach::ForkPage, opened},
    verbs::deferred::DeferredRelease,
};
pub(crate) use self::{
    inspect::observe::TableObserver,
    map::geometry::Geometry,
    place::{file::default_path, sharing::Sharing},
};
use crate::{
    engine::{self, Ask, Capabilities, Ending, Engine, Grant, Progress, Tenure, Ticket},
    words::{
        deadlock::DeadlockReport,
        error::{Error, ErrorKind},
        event::Event,
        lease::Standing,
        name::Name,
        settings::Fairness,
        stats::StatisticsMap,
        status::{Health, Holder, StatusMap},
    },
};

/// A lock table. Lives as long as the process, so that guards need no reference count.
pub(crate) struct Table {
    url: String,
    layout: Layout,
    clock: Clock,
    on_the_wall: OnTheWall,
    token_base: u64,
    /// `None` for a private table.
    file: Option<TableFile>,
    fork_page: ForkPage,
    /// This table, for its hub's thread.
    forever: OnceLock<&'static Table>,
    /// Its place in the list of this process's tables.
    number: usize,
    /// What a process has that only looks: then it never attaches, and the memory cannot be written.
    observer: Option<Inspection>,
    /// What the last look could not see.
    unseen: Mutex<Vec<String>>,
}

impl Table {
    /// A table of this process alone.
    pub(crate) fn local(url: String, geometry: Geometry) -> Result<&'static Table, Error> {
        let failed = |error: std::io::Error| Error::io(format_args!("no memory for {url}"), error);
        let mapping = Mapping::private(Layout::size_of(geometry)).map_err(failed)?;
        let fork_page = ForkPage::new().map_err(failed)?;
        let layout = Layout::new(mapping, geometry).ok_or(Violation("geometry"))?;
        let clock = Clock::measure();
        header::initialise(layout.header(), geometry, clock, [0; 2]);
        Ok(Self::keep(url, layout, clock, None, fork_page, None))
    }

    /// The table in the file at `path`, made with `geometry` if there is none.
    pub(crate) fn host(path: &Path, geometry: Geometry, sharing: Sharing) -> Result<&'static Table, Error> {
        let (file, layout, clock) = file::open(path, geometry, sharing)?;
        let fork_page = ForkPage::new().map_err(|error| Error::io("no memory for the lock table", error))?;
        let table = Self::keep(format!("host:{}", path.display()), layout, clock, Some(file), fork_page, None);
        table.me()?;
        Ok(table)
    }

    /// The table in the file at `path`, only to look at it; `None` if there is none that anybody could be in.
    fn observe(path: &Path, sharing: Sharing) -> Result<Option<&'static Table>, Error> {
        let Some((file, probe, layout, clock)) = file::observe(path, sharing)? else { return Ok(None) };
        let fork_page = ForkPage::new().map_err(|error| Error::io("no memory for the lock table", error))?;
        let url = format!("host:{}", path.display());
        Ok(Some(Self::keep(url, layout, clock, Some(file), fork_page, Some(Inspection::new(probe)))))
    }

    fn keep(
        url: String,
        layout: Layout,
        clock: Clock,
        file: Option<TableFile>,
        fork_page: ForkPage,
        observer: Option<Inspection>,
    ) -> &'static Table {
        let token_base = layout.header().token_base.load(Acquire);
        let number = opened::next_number();
        let (forever, unseen) = (OnceLock::new(), Mutex::default());
        let on_the_wall = OnTheWall::default();
        let table =
            Table { url, layout, clock, on_the_wall, token_base, file, fork_page, forever, number, observer, unseen };
        let table: &'static Table = Box::leak(Box::new(table));
        table.forever.get_or_init(|| table);
        opened::add(table);
        table
    }

    fn forever(&self) -> &'static Table {
        self.forever.get().copied().unwrap_or_else(|| unreachable!("set by `keep`"))
    }

    /// A table that was deleted or replaced is closed for good, so that its users learn that
    /// new processes use another one.
    fn check_open(&self) -> Result<(), Error> {
        match &self.file {
            Some(file) if !self.is_open() => Err(file.gone()),
            _ => Ok(()),
        }
    }

    #[inline]
    fn is_open(&self) -> bool {
        self.layout.header().state.load(Acquire) != layout::RETIRED
    }

    /// In a forked child the private memory is blank again.
    fn initialise_if_blank(&self) {
        self.layout.blank_in_child();
        if self.layout.header().state.load(Acquire) == 0 {
            header::initialise(self.layout.header(), self.layout.geometry(), self.clock, [0; 2]);
        }
    }

    /// What a table can do, whoever looks at it.
    pub(crate) const fn abilities(across_processes: bool) -> Capabilities {
        Capabilities {
            across_processes,
            fair: true,
            priority: true,
            upgrade: true,
            downgrade: true,
            inspect: true,
            revoke: true,
            deadlocks: true,
            lease: false,
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format!(
                "the lock table is damaged ({}) and could not be rebuilt; end its users and remove it",
                violation.0
            ),
        )
    }
}

impl Engine for Table {
    fn url(&self) -> &str {
        &self.url
    }

    #[inline]
    fn enter(&self) -> Result<(), Error> {
        self.me().map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        Table::abilities(self.file.is_some())
    }

    fn take_free(&self, ask: &Ask<'_>) -> Option<(NonZeroU64, u64)> {
        self.take_straight(ask)
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Progress, Error> {
        self.check_open()?;
        self.acquire(ask)
    }

    fn poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        let result = self.poll_future(ticket, context);
        if let Poll::Ready(Err(error)) = &result {
            self.settle(ticket, error);
        }
        result
    }

    fn park(&self, ticket: &Ticket, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        self.wait_in_thread(ticket, go_on).inspect_err(|error| self.settle(ticket, error))
    }

    fn abandon(&self, ticket: &Ticket) {
        // Errors have nobody to go to: the future is gone. What they mean is met by the next operation.
        if self.cancel(ticket).is_err_and(|error| error.kind() == ErrorKind::Unreachable) {
            self.defer(DeferredRelease::Leave(*ticket));
        }
    }

    fn release(&self, grant: &Grant, ending: Ending, fairness: Fairness) -> Result<(), Error> {
        if self.release_straight(grant, ending)? {
            return Ok(());
        }
        self.release_grant(grant, ending, fairness).inspect_err(|error| {
            if error.kind() == ErrorKind::Unreachable {
                self.defer(DeferredRelease::Release(*grant, ending, fairness));
            }
        })
    }

    fn downgrade(&self, grant: &Grant) -> Result<Grant, Error> {
        self.downgrade_grant(grant)
    }

    fn tenure(&self, grant: &Grant) -> Tenure {
        let index = record_of(grant.handle);
        // Also of what an operator took away: the record is ours until it is released.
        let Ok(record) = self.layout.record(index) else { return Tenure::default() };
        if word::handle(index, record.word()) != grant.handle {
            return Tenure::default();
        }
        let (requested, granted) = (record.requested.load(Relaxed), record.granted.load(Relaxed));
        Tenure {
            owner: record.owner.load(Relaxed),
            waited: Duration::from_nanos(granted.saturating_sub(requested)),
            held_for: Duration::from_nanos(self.clock.now().saturating_sub(granted)),
            max_hold: None,
        }
    }

    fn name_of(&self, grant: &Grant) -> Result<String, Error> {
        let me = self.me()?;
        let record = self.layout.record(record_of(grant.handle))?;
        let word = record.word();
        let held = word.state() == word::State::Held;
        if !held || word.slot() != me.slot || u64::from(word.sequence()) != grant.handle >> 32 {
            return Err(self.lost(grant));
        }
        let name = self.layout.resource(self.place_of(record)?.0)?.name_text();
        // What is read from a table may be anything: no caller's mistake, so not `InvalidName`.
        Name::new(&name).map_err(|_| Violation("a resource's name"))?;
        Ok(name)
    }

    fn verify(&self, grant: &Grant) -> Standing {
        let Ok(me) = self.me() else { return Standing::Unknown };
        let standing = engine::look_at(self.name_of(grant));
        match self.whereabouts(me) {
            Whereabouts::InPlace => standing,
            // New processes use another table then: holders in this one are no longer exclusive.
            Whereabouts::Deleted | Whereabouts::Moved => Standing::Lost,
            Whereabouts::NotVisible(_) => standing.max(Standing::Unknown),
        }
    }

    fn record_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Result<(), Error> {
        Ok(self.keep_order(earlier, later, label)?)
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        self.status_of(name)
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.statistics_of(name)
    }

    fn reset_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error> {
        self.forget_statistics(name)
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.deadlock_report(suspect_after)
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        self.events_from(cursor, wait)
    }

    fn revoke(&self, name: Name<'_>, token: u64) -> Result<Holder, Error> {
        self.break_lock(name, token)
    }

    fn health(&self) -> Result<Health, Error> {
        self.health_now()
    }

    #[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
    fn hold_for_tree(&self, _grants: &[Grant]) -> Result<Option<Box<dyn engine::Bequest>>, Error> {
        self.lock_tree()
    }

    fn detach(&self) -> Result<(), Error> {
        self.leave_slot();
        Ok(())
    }

    fn unseen(&self) -> Vec<String> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
