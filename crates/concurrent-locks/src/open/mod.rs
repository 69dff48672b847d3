//! Opens the engine that a URL names: one per target and process, so that one name is one lock.

pub(crate) mod url;

use std::sync::{Mutex, PoisonError};

#[cfg(feature = "cluster")]
use crate::engine::cluster::Cluster;
use crate::{
    engine::{
        Engine,
        file::{FileEngine, FileObserver},
        observing::{Observer, Observing},
        table::{Geometry, Sharing, Table, TableObserver},
    },
    open::url::Target,
    os::{per_process::PerProcess, roll::Roll},
    words::error::Error,
};

/// The engines of one purpose, by target. They live as long as the process.
///
/// - **EN1** One engine per target and process: it is made while `making` is locked.
/// - **EN2** A forked child has its parent's engines, and a lock of its own to make more with: its parent's
///   may be held by a thread that the child does not have.
struct Engines {
    made: Roll<(Target, &'static dyn Engine)>,
    making: PerProcess<Mutex<()>>,
}

impl Engines {
    const fn new() -> Engines {
        Engines { made: Roll::new(), making: PerProcess::new() }
    }

    fn find(&self, target: &Target) -> Option<&'static dyn Engine> {
        self.made.iter().find_map(|(own, engine)| (own == target).then_some(*engine))
    }

    fn find_or_make(
        &self,
        target: Target,
        make: impl FnOnce(&Target) -> Result<&'static dyn Engine, Error>,
    ) -> Result<&'static dyn Engine, Error> {
        if let Some(engine) = self.find(&target) {
            return Ok(engine);
        }
        let _making = self.making.own(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(engine) = self.find(&target) {
            return Ok(engine);
        }
        let engine = make(&target)?;
        self.made.push((target, engine));
        Ok(engine)
    }
}

/// The observing engine of a target: one per target and process.
pub(crate) fn observe((target, geometry): (Target, Geometry)) -> Result<&'static dyn Engine, Error> {
    static OBSERVED: Engines = Engines::new();
    OBSERVED.find_or_make(target, |target| {
        let observer: Box<dyn Observer> = match target {
            Target::Local(_) => Box::new(open((target.clone(), geometry))?),
            Target::Host(path) => Box::new(TableObserver::new(path.clone(), Sharing::User)?),
            Target::Group(path) => Box::new(TableObserver::new(path.clone(), Sharing::Group)?),
            Target::File(directory) => Box::new(FileObserver::new(directory.clone())),
            #[cfg(feature = "cluster")]
            Target::Cluster(address) => Cluster::observe((**address).clone())?,
        };
        Ok(Box::leak(Box::new(Observing(observer))))
    })
}

/// The engine of a target: one per target and process, so that one name is one lock.
pub(crate) fn open((target, geometry): (Target, Geometry)) -> Result<&'static dyn Engine, Error> {
    static OPEN: Engines = Engines::new();
    OPEN.find_or_make(target, |target| {
        Ok(match target {
            Target::Local(_) => Table::local(target.to_string(), geometry)?,
            Target::Host(path) => Table::host(path, geometry, Sharing::User)?,
            Target::Group(path) => Table::host(path, geometry, Sharing::Group)?,
            Target::File(directory) => FileEngine::open(directory)?,
            #[cfg(feature = "cluster")]
            Target::Cluster(address) => Cluster::open((**address).clone())?,
        })
    })
}

#[cfg(all(test, unix, not(loom)))]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    };

    use crate::{LockManager, os::fork_generation::in_a_fork};

    fn write(locks: &LockManager, name: &str) {
        locks.write(name).blocking().unwrap().release().unwrap();
    }

    fn connect(url: &str) -> LockManager {
        LockManager::connect(url).blocking().unwrap()
    }

    /// Whatever the other threads of its parent were about at the fork.
    #[test]
    fn a_forked_child_opens_and_locks_while_its_parent_opens() {
        let folder = tempfile::tempdir().unwrap();
        // Where there is no shared table, a private one stands for it.
        let shared = cfg!(all(target_os = "linux", not(concurrent_locks_portable)));
        let path = folder.path().join("table");
        let table = if shared { format!("host:{}", path.display()) } else { "local:table".to_owned() };
        let files = |number: &dyn std::fmt::Display| {
            format!("file:{}", folder.path().join(format!("files {number}")).display())
        };
        let [of_table, of_files] = [&table, &files(&0)].map(|url| connect(url));
        let (ended, forks, number) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(1));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ended.load(Relaxed) {
                        // Engines live as long as the process, and a child needs room for all of them.
                        if number.load(Relaxed) > 8 * forks.load(Relaxed) {
                            std::thread::yield_now();
                            continue;
                        }
                        let number = number.fetch_add(1, Relaxed);
                        write(&connect(&format!("local:forks {number}?resources=1024")), "a");
                        if number % 32 == 0 {
                            write(&connect(&files(&number)), "a");
                        }
                        write(&of_table, "a");
                        write(&of_files, "a");
                    }
                });
            }
            let all = catch_unwind(AssertUnwindSafe(|| {
                for _ in 0..50 {
                    forks.fetch_add(1, Relaxed);
                    assert!(in_a_fork(|| {
                        write(&of_table, "b");
                        write(&of_files, "b");
                        write(&connect(&table), "b");
                        write(&connect("local:a child's"), "b");
                        write(&connect(&files(&"child")), "b");
                        true
                    }));
                }
            }));
            ended.store(true, Relaxed);
            all.unwrap();
        });
    }
}
