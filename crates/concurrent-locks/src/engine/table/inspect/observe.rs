//! Inspecting a table without taking part in it: nothing is created or written, no slot and no lock is taken.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::{Duration, Instant},
};

use crate::{
    engine::{
        Capabilities, Engine,
        observing::Observer,
        table::{
            Table,
            map::{
                layout::{Header, OPEN},
                memory::Mapping,
            },
            place::{file::TableFile, sharing::Sharing, whereabouts::Whereabouts},
        },
    },
    words::{
        deadlock::DeadlockReport,
        error::Error,
        event::Event,
        name::Name,
        stats::StatisticsMap,
        status::{Health, StatusMap},
    },
};

/// How often it is looked whether a table has come into being.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What an observer of a table has.
pub(crate) struct Inspection {
    /// To ask the kernel who lives.
    pub(crate) probe: File,
    /// The table's first page once more, to be written: a reader that wants to see every event announces it there.
    announced: OnceLock<Option<Mapping>>,
}

impl Inspection {
    pub(crate) fn new(probe: File) -> Inspection {
        Inspection { probe, announced: OnceLock::new() }
    }

    /// Whether the table is where others find it. Nobody is notified: participants do that.
    pub(crate) fn check_in_place(&self, file: &TableFile) -> Result<(), Error> {
        match file.whereabouts(&self.probe) {
            Whereabouts::InPlace => Ok(()),
            Whereabouts::Deleted | Whereabouts::Moved => Err(file.gone()),
            Whereabouts::NotVisible(why) => Err(file.not_visible(&why)),
        }
    }

    /// The header as one who may write it has it; `None` where the table is another user's, or its file system is
    /// read only.
    pub(crate) fn announcement(&self, table: &Table) -> Option<&Header> {
        let announced = self.announced.get_or_init(|| table.file.as_ref()?.first_page());
        announced.as_ref()?.at::<Header>(0)
    }
}

/// A table that is only looked at: whichever is in place, if there is one.
pub(crate) struct TableObserver {
    url: String,
    path: PathBuf,
    sharing: Sharing,
    table: Mutex<Option<&'static Table>>,
    /// The table has changed since events were last read: they are counted from the beginning again.
    changed: AtomicBool,
}

impl TableObserver {
    pub(crate) fn new(path: PathBuf, sharing: Sharing) -> Result<TableObserver, Error> {
        let url = format!("host:{}", path.display());
        let observer = TableObserver { url, path, sharing, table: Mutex::default(), changed: AtomicBool::new(false) };
        observer.table()?;
        // What it begins with is no change.
        observer.changed.store(false, Release);
        Ok(observer)
    }

    /// The table that is in place now.
    fn table(&self) -> Result<Option<&'static Table>, Error> {
        let mut known = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let in_place = |table: &&Table| {
            let (file, inspection) = (table.file.as_ref(), table.observer.as_ref());
            file.zip(inspection).is_some_and(|(file, inspection)| inspection.check_in_place(file).is_ok())
                && table.layout.header().state.load(Acquire) == OPEN
        };
        if !known.as_ref().is_some_and(in_place) {
            *known = Table::observe(&self.path, self.sharing)?;
            self.changed.fetch_or(known.is_some(), AcqRel);
        }
        Ok(*known)
    }

    fn look<R: Default>(&self, look: impl FnOnce(&'static Table) -> Result<R, Error>) -> Result<R, Error> {
        self.table()?.map_or_else(|| Ok(R::default()), look)
    }
}

impl Observer for TableObserver {
    fn url(&self) -> &str {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        Table::abilities(true)
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        self.look(|table| table.status_of(name))
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.look(|table| table.statistics_of(name))
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.look(|table| table.deadlock_report(suspect_after))
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        let started = Instant::now();
        loop {
            let left = wait.saturating_sub(started.elapsed());
            if let Some(table) = self.table()? {
                let changed = self.changed.swap(false, AcqRel);
                return table.events_from(if changed { cursor.map(|_| 0) } else { cursor }, left);
            }
            if left.is_zero() {
                return Ok((Vec::new(), 0));
            }
            std::thread::sleep(left.min(LOOK_AGAIN));
        }
    }

    fn health(&self) -> Result<Health, Error> {
        match self.table()? {
            Some(table) => table.health_now(),
            None => {
                Ok(Health { url: self.url.clone(), path: Some(self.path.display().to_string()), ..Health::default() })
            }
        }
    }

    fn unseen(&self) -> Vec<String> {
        let known = *self.table.lock().unwrap_or_else(PoisonError::into_inner);
        known.map(Engine::unseen).unwrap_or_default()
    }

    fn absence(&self) -> Option<String> {
        let known = *self.table.lock().unwrap_or_else(PoisonError::into_inner);
        known.is_none().then(|| absence(&self.path))
    }
}

fn absence(path: &Path) -> String {
    format!("there is no lock table at {}: nobody has used these locks yet", path.display())
}
