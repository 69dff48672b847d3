//! `file:DIR`, the portable fallback: one lock file per resource, locked by the kernel.
//!
//! For systems without the shared table (macOS, Windows) and for network file systems. It needs nothing but
//! std's file locks, and the kernel releases a lock when its holder dies.
//!
//! # How it works
//! Inside a process a private `local:` table works as everywhere: queueing, modes, owners, re-entry,
//! deadlocks. The process holds the lock file on behalf of that table's holders. A request that the table
//! has granted *enters* the [`resource`]; the first to enter takes the lock file (shared to read, exclusive
//! to write), further readers use it too, the last to leave releases it. So processes alternate at least as
//! often as the requests of one process do.
//!
//! 1. A holder of a grant of this engine holds the table's grant and, through its process, the lock file.
//! 2. The lock file is released before the table hands its grant on, and never while one of its
//!    users is left.
//! 3. Lock files are never removed. If somebody else removes one, that is detected after locking
//!    ([`crate::os::kernel_lock`]), and its holder is notified ([`resource`], H1).
//! 4. Every grant has a new [`token`], even grants that share one lock of the file.
//!
//! # Files
//! `NAME-HASH.lock`, `.token` and `.holder` for every name that was ever used, and one `tokens.lock`.
//! They may be removed while nobody uses the directory. Tokens keep rising ([`token`]).
//!
//! # Waiting
//! Waiting for the table is the table's. For the lock file one thread per resource and mode waits in the
//! kernel, without polling, and wakes the waiters. It cannot be interrupted: after a time-out or a dropped
//! future it keeps waiting, and releases the lock as soon as it has it, unless another request needs it.
//! For that moment `try_now` of another process may find it busy.
//!
//! # Limits
//! See [`Capabilities`]: the kernel serves processes in no order, so a process may wait long for another
//! whose readers always overlap; it has no priorities; it can neither upgrade nor downgrade without a gap;
//! of other processes it shows the one holder in the [`record`], but not their waiters, events, statistics
//! and deadlocks. An owner re-enters within its process only: a child process that inherits it waits for
//! its parent like any other.
//!
//! # Fork
//! A forked child starts afresh (a [`Process`] of its own): its copies of guards are `Lost` and release
//! nothing. It inherits the open lock files, and closes them when it first uses the engine. If it never
//! does, and its parent dies without releasing a lock, the lock stays held until the child ends or executes
//! another program.

mod file_system;
mod files;
#[cfg(unix)]
mod inheritable;
mod journal;
mod loss_watch;
mod observe;
mod process;
mod record;
mod resource;
#[cfg(all(test, unix))]
mod tests;
mod timer;
mod token;
mod view;

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;
use std::{
    collections::btree_map::Entry,
    fs::Metadata,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use once_cell::race::OnceBox;

pub(crate) use self::observe::FileObserver;
use self::{observe::of_directory, process::Process};
#[cfg(unix)]
use crate::engine::Bequest;
use crate::{
    engine::{
        Ask, Capabilities, Ending, Engine, Grant, Progress, Tenure, Ticket,
        observing::Observer,
        table::{Geometry, Table},
        unsupported,
    },
    os::fork_generation::ForkGeneration,
    words::{
        deadlock::DeadlockReport,
        error::Error,
        event::Event,
        lease::Standing,
        mode::Mode,
        name::Name,
        settings::Fairness,
        stats::StatisticsMap,
        status::{Health, Holder, Status, StatusMap},
    },
};

const CAPABILITIES: Capabilities = Capabilities {
    across_processes: true,
    fair: false,
    priority: false,
    upgrade: false,
    downgrade: false,
    inspect: false,
    revoke: false,
    deadlocks: false,
    lease: false,
};

/// Layout of the directory, of names and contents of its files.
const LAYOUT: u32 = 1;

pub(crate) struct FileEngine {
    url: String,
    directory: PathBuf,
    /// Counts on in a forked child, so that no handle of its parent's names a request of its own.
    handles: AtomicU64,
    first: &'static Generation,
    observer: FileObserver,
}

/// What a process has of the engine, and what the child has that was forked while it was used.
struct Generation {
    process: Process,
    next: OnceBox<&'static Generation>,
}

impl Generation {
    fn new(directory: &Path, url: &str) -> Result<&'static Generation, Error> {
        static TABLES: AtomicU64 = AtomicU64::new(0);
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        let table = Table::local(format!("local:{url}#{number}"), Geometry::DEFAULT)?;
        let process = Process::new(directory.to_owned(), url.to_owned(), table);
        Ok(Box::leak(Box::new(Generation { process, next: OnceBox::new() })))
    }
}

impl FileEngine {
    /// The locks of a directory, which is made (for this user only) if it is missing.
    pub(crate) fn open(directory: &Path) -> Result<&'static dyn Engine, Error> {
        Ok(Box::leak(Box::new(Self::new(directory)?)))
    }

    fn new(directory: &Path) -> Result<FileEngine, Error> {
        files::make_folder(directory)?;
        // Better fail now than at the first lock if files cannot be created and locked here.
        file_system::check(directory)?;
        let url = format!("file:{}", directory.display());
        let first = Generation::new(directory, &url)?;
        let observer = FileObserver::new(directory.to_owned());
        Ok(FileEngine { url, directory: directory.to_owned(), handles: AtomicU64::new(1), first, observer })
    }

    /// What this process has: in a forked child, something new.
    fn process(&self) -> Result<&'static Process, Error> {
        let process = ForkGeneration::current();
        let mut generation = self.first;
        while generation.process.process != process {
            generation = match generation.next.get() {
                Some(next) => next,
                None => {
                    generation.process.close_inherited();
                    let next = Generation::new(&self.directory, &self.url)?;
                    generation.next.get_or_init(|| Box::new(next))
                }
            };
        }
        Ok(&generation.process)
    }

    fn unsupported<T>(&self, what: &str, instead: &str) -> Result<T, Error> {
        Err(unsupported(&self.url, what, instead))
    }
}

impl Engine for FileEngine {
    fn url(&self) -> &str {
        &self.url
    }

    fn enter(&self) -> Result<(), Error> {
        self.process().map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Progress, Error> {
        if ask.terms.priority != 0 {
            return self.unsupported("honour priorities", "request without one, or use host:");
        }
        self.process()?.begin(self.handles.fetch_add(1, Ordering::Relaxed), ask)
    }

    fn poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        self.process()?.poll(ticket, context)
    }

    fn park(&self, ticket: &Ticket, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        self.process()?.park(ticket, go_on)
    }

    fn abandon(&self, ticket: &Ticket) {
        // Without a process there is no request either.
        if let Ok(process) = self.process() {
            process.abandon(ticket);
        }
    }

    fn release(&self, grant: &Grant, ending: Ending, _fairness: Fairness) -> Result<(), Error> {
        self.process()?.release(grant, ending)
    }

    fn downgrade(&self, grant: &Grant) -> Result<Grant, Error> {
        match grant.mode {
            Mode::Read => Ok(*grant),
            Mode::Write => self.unsupported("downgrade a write grant", "release it and request to read"),
        }
    }

    fn tenure(&self, grant: &Grant) -> Tenure {
        self.process().map(|process| process.tenure(grant)).unwrap_or_default()
    }

    fn name_of(&self, grant: &Grant) -> Result<String, Error> {
        self.process()?.name_of(grant)
    }

    fn verify(&self, grant: &Grant) -> Standing {
        self.process().map_or(Standing::Unknown, |process| process.verify(grant))
    }

    fn on_lost(&self, grant: &Grant, tell: Box<dyn FnOnce(Error) + Send>) {
        match self.process() {
            Ok(process) => process.on_lost(grant, tell),
            // Without a process there is no grant either.
            Err(error) => tell(error),
        }
    }

    fn record_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Result<(), Error> {
        self.process()?.table.record_order(earlier, later, label)
    }

    /// Of other processes, what they have recorded.
    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        let mut all = self.process()?.status(name)?;
        for (name, seen) in self.observer.status(name)? {
            let own = match all.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(seen);
                    continue;
                }
                Entry::Occupied(entry) => entry.into_mut(),
            };
            let mut holders = std::mem::take(&mut own.holders);
            holders.extend(seen.holders.into_iter().filter(|holder| holder.pid != std::process::id()));
            let name = std::mem::take(&mut own.resource_name);
            *own = Status::of(name, holders, std::mem::take(&mut own.waiters));
        }
        Ok(all)
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.process()?.statistics(name)
    }

    fn reset_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error> {
        self.process()?.journal.reset(name.map(|name| name.text()));
        Ok(())
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.process()?.deadlocks(suspect_after)
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        Ok(self.process()?.journal.events(cursor, wait))
    }

    fn revoke(&self, _name: Name<'_>, _token: u64) -> Result<Holder, Error> {
        self.unsupported("take a lock from its holder", "end the holding process, which `locks status` names")
    }

    #[cfg(unix)]
    fn hold_for_tree(&self, grants: &[Grant]) -> Result<Option<Box<dyn Bequest>>, Error> {
        self.process()?.inheritable(grants).map(|lock_files| Some(Box::new(lock_files) as Box<dyn Bequest>))
    }

    fn unseen(&self) -> Vec<String> {
        self.observer.unseen()
    }

    fn health(&self) -> Result<Health, Error> {
        let Health { path, layout, permissions, resources, problems, .. } = of_directory(&self.url, &self.directory)?;
        Ok(Health {
            url: self.url.clone(),
            path,
            layout,
            permissions,
            resources,
            problems,
            ..self.process()?.table.health()?
        })
    }
}

#[cfg(unix)]
fn permissions(metadata: &Metadata) -> Option<String> {
    Some(format!("{:04o}", metadata.permissions().mode() & 0o7777))
}

#[cfg(unix)]
fn is_writable_by_others(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o022 != 0
}

#[cfg(not(unix))]
fn permissions(_metadata: &Metadata) -> Option<String> {
    None
}

#[cfg(not(unix))]
fn is_writable_by_others(_metadata: &Metadata) -> bool {
    false
}
