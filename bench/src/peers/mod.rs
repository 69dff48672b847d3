//! The locks between processes that are compared, behind one trait, and the place where they live.

mod locks;
pub(crate) mod sys;

use std::{
    fs::{File, OpenOptions},
    path::Path,
    sync::atomic::AtomicU32,
};

use anyhow::Result;
use concurrent_locks::{Fairness, LockManager, Mode, Resource};
use rustix::thread::futex;
use serde::{Deserialize, Serialize};

pub(crate) use locks::FutexMutex;
use locks::{Flock, Named, Ofd};

/// A lock between processes (or threads). What `lock` returns holds it until it is dropped.
pub(crate) trait Lock {
    type Held<'a>
    where
        Self: 'a;

    fn lock(&self, mode: Mode) -> Result<Self::Held<'_>>;
}

/// Work that is done with locks of any kind.
pub(crate) trait Work {
    type Output;

    fn run<L: Lock>(self, locks: &[L]) -> Result<Self::Output>;
}

/// The kinds of lock between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Ours through a handle, in strict order.
    Strict,
    /// Ours through a handle, with the barging window.
    Window,
    /// Ours, looked up by name each time.
    Named,
    Flock,
    Ofd,
    Rwlock,
    /// A bare mutex on one futex word: the floor. Readers exclude each other.
    Futex,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Strict => "ours, handle",
            Kind::Window => "ours, handle, window",
            Kind::Named => "ours, by name",
            Kind::Flock => "flock(2)",
            Kind::Ofd => "fcntl OFD",
            Kind::Rwlock => "pthread rwlock, pshared",
            Kind::Futex => "bare futex mutex",
        }
    }

    /// Prepares what locks of this kind need in a folder. To be done once per folder.
    pub(crate) fn create(self, folder: &Path, count: usize) -> Result<()> {
        match self {
            // The first to open the table makes it.
            Kind::Strict | Kind::Window | Kind::Named => {}
            Kind::Flock | Kind::Ofd => {
                for index in 0..count {
                    File::create(folder.join(format!("{index}.lock")))?;
                }
            }
            Kind::Rwlock => {
                File::create(folder.join("rwlocks"))?.set_len((count * sys::RWLOCK_STRIDE) as u64)?;
                sys::PthreadRwLock::create(&shared(folder, "rwlocks")?, count)?;
            }
            Kind::Futex => File::create(folder.join("futexes"))?.set_len((count * sys::RWLOCK_STRIDE) as u64)?,
        }
        Ok(())
    }

    /// Does the work with the first `count` locks of a folder that `create` has prepared.
    pub(crate) fn with<W: Work>(self, folder: &Path, count: usize, work: W) -> Result<W::Output> {
        match self {
            Kind::Strict => work.run(&handles(folder, count, Fairness::Strict)?),
            Kind::Window => work.run(&handles(folder, count, Fairness::Window)?),
            Kind::Named => {
                let manager = manager(folder, Fairness::Strict)?;
                let named = |index| Named { manager: manager.clone(), name: name(index) };
                work.run(&(0..count).map(named).collect::<Vec<_>>())
            }
            Kind::Flock => work.run(&files(folder, count)?.into_iter().map(Flock).collect::<Vec<_>>()),
            Kind::Ofd => work.run(&files(folder, count)?.into_iter().map(Ofd).collect::<Vec<_>>()),
            Kind::Rwlock => work.run(&sys::PthreadRwLock::open(&shared(folder, "rwlocks")?, count)?),
            Kind::Futex => {
                let stride = sys::RWLOCK_STRIDE / 4;
                let words = sys::map_bells(&shared(folder, "futexes")?, count * stride)?;
                work.run(&words.iter().step_by(stride).map(FutexMutex).collect::<Vec<_>>())
            }
        }
    }
}

/// The URL of the table in a folder.
pub(crate) fn url(folder: &Path) -> String {
    format!("host:{}", folder.join("bench.table").display())
}

fn manager(folder: &Path, fairness: Fairness) -> Result<LockManager> {
    let manager = LockManager::connect(&url(folder)).blocking()?;
    let settings = manager.settings().fairness(fairness);
    Ok(manager.with_settings(settings))
}

fn name(index: usize) -> String {
    format!("episodic_memory/{index:08}")
}

fn handles(folder: &Path, count: usize, fairness: Fairness) -> Result<Vec<Resource>> {
    let manager = manager(folder, fairness)?;
    Ok((0..count).map(|index| manager.resource(&name(index))).collect::<Result<_, _>>()?)
}

fn files(folder: &Path, count: usize) -> Result<Vec<File>> {
    (0..count).map(|index| shared(folder, &format!("{index}.lock"))).collect()
}

pub(crate) fn shared(folder: &Path, file: &str) -> Result<File> {
    Ok(OpenOptions::new().read(true).write(true).open(folder.join(file))?)
}

/// Sleeps until the word is woken; may return early, and does at once if the word is not `value`.
pub(crate) fn sleep_while(word: &AtomicU32, value: u32) {
    // EAGAIN (it is not) and EINTR (a signal) both mean: look again. Nothing else can go wrong here.
    let _ = futex::wait(word, futex::Flags::empty(), value, None);
}

pub(crate) fn wake(word: &AtomicU32, how_many: u32) {
    futex::wake(word, futex::Flags::empty(), how_many).expect("a mapped word can be woken");
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    const PASSES: u64 = 500;

    /// Adds to a counter in two steps, which only a lock makes one.
    struct Count<'a>(&'a AtomicU64);

    impl Work for Count<'_> {
        type Output = ();

        fn run<L: Lock>(self, locks: &[L]) -> Result<()> {
            for _ in 0..PASSES {
                let _held = locks[0].lock(Mode::Write)?;
                let count = self.0.load(Ordering::Relaxed);
                thread::yield_now();
                self.0.store(count + 1, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    #[test]
    fn every_kind_excludes() {
        use Kind::{Flock, Futex, Named, Ofd, Rwlock, Strict, Window};
        for kind in [Strict, Window, Named, Flock, Ofd, Rwlock, Futex] {
            let folder = tempfile::tempdir().expect("a folder");
            kind.create(folder.path(), 1).expect("locks to open");
            let count = AtomicU64::new(0);
            thread::scope(|scope| {
                let work = || kind.with(folder.path(), 1, Count(&count));
                let two = [scope.spawn(work), scope.spawn(work)];
                for one in two {
                    one.join().expect("no panic").expect("no error");
                }
            });
            assert_eq!(count.into_inner(), 2 * PASSES, "{kind:?}");
        }
    }
}
